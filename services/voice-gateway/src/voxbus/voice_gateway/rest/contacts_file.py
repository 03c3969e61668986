"""Files of contacts: CSV as spreadsheets and people write it, read row by row so that a file of any size needs little memory."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final

from voxbus.contracts.campaigns import ContactRow, RowProblem

MAX_ROWS: Final = 200_000
MAX_VARIABLES: Final = 30
MAX_NAME_CHARS: Final = 200
MAX_NUMBER_CHARS: Final = 64
MAX_VARIABLE_NAME_CHARS: Final = 64
MAX_VARIABLE_CHARS: Final = 512
_SHOWN_CHARS: Final = 100
_SHOWN_COLUMNS: Final = 20
_PHONE_COLUMNS: Final = ("phonenumber", "phone", "mobile", "number")
"""The first of these that a file has is its column of numbers, whatever its case and spaces."""
_NAME_COLUMN: Final = "name"
_DELIMITERS: Final = (",", ";", "\t")
_CHUNK_BYTES: Final = 1 << 16
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LIKE_A_NUMBER: Final = re.compile(r"\+?\(?\d[\d\s()./-]{5,}\d")


class ContactsFileError(ValueError):
    """The file cannot be used at all. The message is for whoever made it."""


@dataclass(frozen=True)
class _Columns:
    """Which cell of a row is what."""

    phone: int
    phone_title: str
    name: int | None
    variables: tuple[tuple[int, str], ...]
    count: int


class ContactsFile:
    """A file that was found readable to its end: its rows can be read, as often as wanted."""

    def __init__(self, file: BinaryIO, encoding: str | None = None) -> None:
        """`encoding`: what the sender says it is; None: it is found out. Raises ContactsFileError. Takes 1 s for 50 MB."""
        self._file = file
        self.encoding = _checked_encoding(file, encoding)
        """As Python calls it; what is no Unicode is taken for `cp1252`, or `latin-1` where it cannot be."""
        self.delimiter, self._header_row, self._columns = self._read_header()
        self.row_count = self._count_rows()
        """Rows below the header that are not empty."""

    @property
    def phone_column(self) -> str:
        """The title of the column of numbers."""
        return self._columns.phone_title

    def rows(self) -> Iterator[ContactRow | RowProblem]:
        """Every row that is not empty; a problem for one that does not even fit a contact."""
        for number, cells in self._records(self.delimiter):
            if number > self._header_row and any(cells):
                yield self._contact(number, cells)

    def _contact(self, number: int, cells: Sequence[str]) -> ContactRow | RowProblem:
        columns = self._columns
        if any(cells[columns.count :]):
            message = f"the row has {len(cells)} cells, the header {columns.count}"
            return RowProblem(row=number, message=message)
        filled = [*cells, *[""] * (columns.count - len(cells))]
        wrong = self._wrong_cell(number, filled)
        if wrong is not None:
            return wrong
        # Checked above; validating it once more would double the time of a large file.
        return ContactRow.model_construct(
            row=number,
            phone_number=filled[columns.phone],
            name=filled[columns.name] if columns.name is not None else "",
            variables={title: filled[index] for index, title in columns.variables},
        )

    def _wrong_cell(self, number: int, cells: Sequence[str]) -> RowProblem | None:
        columns = self._columns
        limits = [(columns.phone, columns.phone_title, MAX_NUMBER_CHARS)]
        if columns.name is not None:
            limits.append((columns.name, _NAME_COLUMN, MAX_NAME_CHARS))
        limits += [(index, title, MAX_VARIABLE_CHARS) for index, title in columns.variables]
        for index, title, limit in limits:
            cell = cells[index]
            if len(cell) > limit:
                return _problem(number, title, cell, f"{len(cell)} characters, at most {limit} are allowed")
            if "\0" in cell:
                return _problem(number, title, cell.replace("\0", "?"), "holds the character U+0000")
        return None

    def _count_rows(self) -> int:
        count = 0
        for number, cells in self._records(self.delimiter):
            if number > self._header_row and any(cells):
                count += 1
            if count > MAX_ROWS:
                raise ContactsFileError(f"the file has more than {MAX_ROWS:,} rows: send it in parts")
        return count

    def _read_header(self) -> tuple[str, int, _Columns]:
        """The delimiter that makes most columns of the first row, of those that make a column of numbers."""
        found: list[tuple[str, int, list[str]]] = []
        unreadable: ContactsFileError | None = None
        for delimiter in _DELIMITERS:
            try:
                found.append((delimiter, *self._first_record(delimiter)))
            except ContactsFileError as error:  # with another delimiter, what follows a quotation mark may be right
                unreadable = unreadable or error
        fitting = [candidate for candidate in found if _phone_index(candidate[2]) is not None]
        if unreadable and not fitting:
            raise unreadable
        delimiter, number, titles = max(fitting or found, key=lambda candidate: len(candidate[2]))
        phone = _phone_index(titles)
        if phone is None:
            raise ContactsFileError(_no_phone_column(titles))
        return delimiter, number, _columns(titles, phone)

    def _first_record(self, delimiter: str) -> tuple[int, list[str]]:
        for number, cells in self._records(delimiter):
            if any(cells):
                return number, cells
        raise ContactsFileError("the file is empty: the first row must name the columns")

    def _records(self, delimiter: str) -> Iterator[tuple[int, list[str]]]:
        """Rows as a spreadsheet numbers them, from 1, with the spaces around their cells removed."""
        with _text(self._file, self.encoding) as text:
            reader = csv.reader(text, delimiter=delimiter, strict=True, skipinitialspace=True)
            number = 0
            while True:
                number += 1
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    raise ContactsFileError(_bad_quoting(number, reader.line_num, error)) from None
                yield number, [cell.strip() for cell in cells]


@contextmanager
def _text(file: BinaryIO, encoding: str) -> Iterator[io.TextIOWrapper]:
    file.seek(0)
    text = io.TextIOWrapper(file, encoding, newline="")
    try:
        yield text
    finally:
        text.detach()  # it would close the file


def _checked_encoding(file: BinaryIO, said: str | None) -> str:
    if said is not None:
        if not _decodes(file, said):
            raise ContactsFileError(f"the file is not {said}, as the request says")
        return said
    file.seek(0)
    begin = file.read(_CHUNK_BYTES)
    for bom, encoding in _BOMS:
        if begin.startswith(bom):
            if not _decodes(file, encoding):
                raise ContactsFileError(f"the file begins as {encoding} and does not go on so: save it as UTF-8")
            return encoding
    candidates = ["utf-8", "cp1252", "latin-1"]
    for encoding, high_bytes in (("utf-16-le", begin[1::2]), ("utf-16-be", begin[::2])):
        if high_bytes.count(0) * 2 > len(high_bytes):  # without a mark: Latin letters have every other byte 0
            candidates.insert(0, encoding)
    return next(encoding for encoding in candidates if _decodes(file, encoding))


def _decodes(file: BinaryIO, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    file.seek(0)
    try:
        while chunk := file.read(_CHUNK_BYTES):
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeError:
        return False
    return True


def _plain(title: str) -> str:
    """For comparing titles: `Phone Number` is `phone_number`."""
    return re.sub(r"[\s_-]+", "", title).casefold()


def _phone_index(titles: Sequence[str]) -> int | None:
    plain = [_plain(title) for title in titles]
    return next((plain.index(name) for name in _PHONE_COLUMNS if name in plain), None)


def _columns(titles: Sequence[str], phone: int) -> _Columns:
    plain = [_plain(title) for title in titles]
    name = plain.index(_NAME_COLUMN) if _NAME_COLUMN in plain else None
    # A column without a title has no name for its variable; spreadsheets leave empty ones at the end.
    variables = tuple((index, title) for index, title in enumerate(titles) if title and index not in (phone, name))
    _check_titles([titles[phone], *([titles[name]] if name is not None else []), *(title for _, title in variables)])
    if len(variables) > MAX_VARIABLES:
        raise ContactsFileError(f"the file has {len(variables)} columns of variables, at most {MAX_VARIABLES} are kept")
    return _Columns(phone, titles[phone], name, variables, len(titles))


def _check_titles(titles: Sequence[str]) -> None:
    seen: set[str] = set()
    for title in titles:
        if len(title) > MAX_VARIABLE_NAME_CHARS:
            message = f"at most {MAX_VARIABLE_NAME_CHARS} characters are allowed"
            raise ContactsFileError(f"the title {_shown(title)} of a column is too long: {message}")
        if "\0" in title:
            raise ContactsFileError("the title of a column holds the character U+0000")
        if title in seen:
            raise ContactsFileError(f"two columns are called {_shown(title)}")
        seen.add(title)


def _no_phone_column(titles: Sequence[str]) -> str:
    if any(_LIKE_A_NUMBER.fullmatch(title) for title in titles):
        return "the first row must name the columns, such as phone_number,name; this one seems to be a contact already"
    shown = ", ".join(_shown(title) for title in titles[:_SHOWN_COLUMNS])
    return f"no column is called phone_number, phone, mobile or number; the columns are {shown}"


def _bad_quoting(row: int, line: int, error: csv.Error) -> str:
    if "unexpected end" in str(error):
        return f"row {row} (line {line}): a quotation mark is opened and never closed"
    if "field larger" in str(error):
        return f"row {row} (line {line}): a cell is longer than 131,072 characters; is a quotation mark missing?"
    return f'row {row} (line {line}): text follows a closing quotation mark; inside quotes a " is written ""'


def _problem(row: int, column: str, value: str, message: str) -> RowProblem:
    return RowProblem(row=row, column=column, value=value[:_SHOWN_CHARS], message=message)


def _shown(title: str) -> str:
    return title if len(title) <= _SHOWN_CHARS else title[:_SHOWN_CHARS] + "…"
