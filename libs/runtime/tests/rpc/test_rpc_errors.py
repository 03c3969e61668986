"""Failures in the form of the contract."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, Field, ValidationError, field_validator

from voxbus.contracts.rpc import RequestErrorCode
from voxbus.runtime.rpc import RequestFailedError, invalid, not_found, problems_of

pytestmark = pytest.mark.unit


class Part(BaseModel):
    secret: int


class Whole(BaseModel):
    parts: dict[str, list[Part]] = Field(default_factory=dict)
    name: str = "n"

    @field_validator("name")
    @classmethod
    def _no_x(cls, name: str) -> str:
        if "x" in name:
            raise ValueError("has an x")
        return name


def test_a_problem_names_its_field_by_a_json_pointer() -> None:
    """Paths are JSON pointers below the prefix, with `/` and `~` in names escaped."""
    with pytest.raises(ValidationError) as raised:
        Whole.model_validate({"parts": {"a/b~c": [{"secret": 1}, {"secret": "hunter2"}]}, "name": "x"})
    by_path = {problem.path: problem.message for problem in problems_of(raised.value, "/spec")}
    assert set(by_path) == {"/spec/parts/a~1b~0c/1/secret", "/spec/name"}
    assert by_path["/spec/name"] == "has an x"


def test_a_problem_quotes_no_value() -> None:
    """What the client sent is not repeated, since it may be a secret."""
    with pytest.raises(ValidationError) as raised:
        Whole.model_validate({"parts": {"a": [{"secret": "hunter2"}]}})
    assert "hunter2" not in str(problems_of(raised.value))


def test_the_usual_failures() -> None:
    """`invalid` and `not_found` make the errors they are named after."""
    assert not_found("agent").error.message == "there is no such agent"
    assert not_found("agent").code is RequestErrorCode.NOT_FOUND
    failure: RequestFailedError = invalid("/spec/name", "is blank")
    assert failure.code is RequestErrorCode.INVALID
    assert [(problem.path, problem.message) for problem in failure.error.problems] == [("/spec/name", "is blank")]
