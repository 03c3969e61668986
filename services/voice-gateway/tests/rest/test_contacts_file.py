"""CSV files as they come."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from voxbus.contracts.campaigns import ContactRow, RowProblem
from voxbus.voice_gateway.rest.contacts_file import MAX_ROWS, ContactsFile, ContactsFileError

pytestmark = pytest.mark.unit


def _read(content: bytes | str, encoding: str | None = None) -> ContactsFile:
    return ContactsFile(io.BytesIO(content.encode() if isinstance(content, str) else content), encoding)


def _contacts(file: ContactsFile) -> list[ContactRow]:
    return [row for row in file.rows() if isinstance(row, ContactRow)]


def _problem(content: str) -> RowProblem:
    [problem] = [row for row in _read(content).rows() if isinstance(row, RowProblem)]
    return problem


def test_columns_become_number_name_and_variables() -> None:
    """Whatever their order; every column without a meaning of its own is a variable."""
    file = _read("city,phone_number,name,Due date\nRome,+1,Ada,May 4\n")
    assert _contacts(file) == [
        ContactRow(row=2, phone_number="+1", name="Ada", variables={"city": "Rome", "Due date": "May 4"})
    ]
    assert file.row_count == 1


@pytest.mark.parametrize(
    "title", ["phone_number", "Phone Number", " PHONE ", "phone-number", "PhoneNumber", "mobile", "Number"]
)
def test_the_column_of_numbers_has_several_names(title: str) -> None:
    """Case, spaces, hyphens and underscores do not matter."""
    file = _read(f"name,{title}\nAda,+1\n")
    assert _contacts(file)[0].phone_number == "+1"
    assert file.phone_column == title.strip()


def test_of_several_columns_of_numbers_one_is_taken() -> None:
    """The most telling title; the other is a variable."""
    [contact] = _contacts(_read("Mobile,Phone Number\n+2,+1\n"))
    assert (contact.phone_number, contact.variables) == ("+1", {"Mobile": "+2"})


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_the_delimiter_is_found_out(delimiter: str, quote: str) -> None:
    """With every cell in quotes, too, and with another delimiter inside a cell."""
    rows = [["name", "phone"], ["Ada: x; y, z" if quote else "Ada", "+1"]]
    content = "\r\n".join(delimiter.join(f"{quote}{cell}{quote}" for cell in row) for row in rows)
    file = _read(content)
    assert file.delimiter == delimiter
    assert _contacts(file)[0].name == rows[1][0]


@pytest.mark.parametrize(
    ("codec", "named"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8-sig"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("cp1252", "cp1252"),
    ],
)
def test_the_encoding_is_found_out(codec: str, named: str) -> None:
    """With a mark and without; what is no Unicode is taken for what Windows writes."""
    file = _read("phone;name\n+1;Gr€te Müller\n".encode(codec))
    assert file.encoding == named
    assert _contacts(file)[0].name == "Gr€te Müller"


def test_bytes_that_windows_does_not_know_are_latin_1() -> None:
    """Every file can be read as something."""
    assert _read(b"phone,name\n+1,\x81\xe9\n").encoding == "latin-1"


def test_a_file_that_is_not_what_the_request_says_is_refused() -> None:
    """Rather than read as something else."""
    with pytest.raises(ContactsFileError, match="is not utf-8"):
        _read(b"phone\n\xff\n", "utf-8")


def test_a_fault_at_the_very_end_is_found_at_once() -> None:
    """Before the first row is given out: nothing of such a file is added."""
    content = "phone,name\n" + "+1,Ada\n" * 10_000 + '+1,"Ada\n'
    with pytest.raises(ContactsFileError, match=r"^row 10002 .*never closed"):
        _read(content)
    assert _read(("phone,name\n" + "+1,Ada\n" * 50_000).encode() + b"+1,M\xfcller").encoding == "cp1252"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty: the first row must name the columns"),
        ("\n , \n", "the file is empty: the first row must name the columns"),
        ("name,city\nAda,Rome\n", "no column is called phone_number, phone, mobile or number; the columns are name, city"),
        ("+1 (415) 555-2671,Ada\n", "such as phone_number,name; this one seems to be a contact already"),
        ('phone,name\n+1,"Ada"x\n', 'row 2 (line 2): text follows a closing quotation mark; inside quotes a " is written ""'),
        ('phone,name\n+1,"Ada\n', "a quotation mark is opened and never closed"),
        ("phone,city,city\n", "two columns are called city"),
        ("phone," + "x" * 65 + "\n", "of a column is too long: at most 64 characters are allowed"),
        ("phone," + ",".join(f"v{n}" for n in range(31)) + "\n", "31 columns of variables, at most 30 are kept"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_says_why(content: str, message: str) -> None:
    """In words for whoever made it."""
    with pytest.raises(ContactsFileError) as refused:
        _read(content)
    assert message in str(refused.value)


def test_rows_are_numbered_as_a_spreadsheet_does() -> None:
    """Empty rows have a number and are no contacts; a cell of two lines is in one row."""
    file = _read('\nphone,note\n+1,"two\nlines"\n\n ,\n+2,x\n')
    assert [row.row for row in _contacts(file)] == [3, 6]
    assert file.row_count == 2


def test_short_rows_are_filled_and_empty_columns_ignored() -> None:
    """As spreadsheets leave them."""
    contacts = _contacts(_read("phone,name,city,,\n+1\n+2,Ada,Rome,,\n+3,Bob,,x,\n"))
    assert [contact.variables for contact in contacts] == [{"city": ""}, {"city": "Rome"}, {"city": ""}]


@pytest.mark.parametrize(
    ("row", "column", "message"),
    [
        ("+1,Ada,Rome,more", "", "the row has 4 cells, the header 3"),
        ("+1,Ada," + "x" * 513, "city", "513 characters, at most 512 are allowed"),
        ("+1," + "x" * 201 + ",", "name", "201 characters, at most 200 are allowed"),
        ("1" * 65 + ",,", "phone", "65 characters, at most 64 are allowed"),
        ("+1,A\0da,", "name", "holds the character U+0000"),
    ],
)
def test_a_row_that_fits_no_contact_is_a_problem(row: str, column: str, message: str) -> None:
    """With its place; the other rows are taken."""
    content = f"phone,name,city\n+2,,\n{row}\n+3,,\n"
    problem = _problem(content)
    assert (problem.row, problem.column, problem.message) == (3, column, message)
    assert len(problem.value) <= 100
    assert [contact.row for contact in _contacts(_read(content))] == [2, 4]


def test_a_file_has_so_many_rows_at_most() -> None:
    """And not one more."""
    rows = "1\n" * MAX_ROWS
    assert _read("phone\n" + rows).row_count == MAX_ROWS
    with pytest.raises(ContactsFileError, match="more than 200,000 rows"):
        _read("phone\n" + rows + "1\n")


_CELL = st.text(
    st.characters(codec="utf-8", exclude_characters="\0\ufeff", exclude_categories=("Cs",)), max_size=20
).map(str.strip)
_TABLE = st.lists(st.tuples(st.from_regex(r"[0-9+]{1,20}", fullmatch=True), _CELL, _CELL), min_size=1, max_size=20)


@given(_TABLE, st.sampled_from([",", ";", "\t"]), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]), st.booleans())
def test_what_a_spreadsheet_writes_is_read_back(
    table: list[tuple[str, str, str]], delimiter: str, encoding: str, quote_all: bool
) -> None:
    """Cell for cell, whatever the delimiter, encoding and quoting."""
    text = io.StringIO(newline="")
    quoting = csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting)
    writer.writerow(["phone_number", "name", "a note"])
    writer.writerows(table)
    file = _read(text.getvalue().encode(encoding))
    contacts = [(row.phone_number, row.name, row.variables["a note"]) for row in _contacts(file)]
    assert contacts == table
    assert file.row_count == len(table)


@given(st.binary(max_size=300))
@example(b"phone\n\xef\xbb\xbf")
@example(b"\xff\xfep\0h\0o\0n\0e\0\n\0x")
@example(b'phone\n"')
def test_any_bytes_are_rows_or_are_refused(content: bytes) -> None:
    """Nothing else is raised, and each counted row is given out."""
    try:
        file = _read(content)
    except ContactsFileError:
        return
    assert len(list(file.rows())) == file.row_count


@given(st.text(max_size=200))
def test_any_text_below_a_header_is_rows_or_is_refused(text: str) -> None:
    """Contacts always fit the contract."""
    try:
        file = _read(("phone,name\n" + text).encode("utf-8", "replace"))
    except ContactsFileError:
        return
    for row in file.rows():
        type(row).model_validate(row.model_dump())
