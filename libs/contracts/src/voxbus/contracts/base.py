"""The base of everything that travels."""

from __future__ import annotations

import secrets
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints


class Message(BaseModel):
    """A message of the bus or the edge.

    Frozen, so that it can be shared between tasks; unknown fields are ignored, so that a newer peer may send more.
    Inside a major version only optional fields are added (`tests/contract` checks it against the committed schemas).
    """

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="null")

    def encode(self) -> bytes:
        """The JSON bytes of this message; fields that are None are left out."""
        return self.model_dump_json(exclude_none=True).encode()


Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
"""An id that is safe as one token of a subject: letters, digits, `_` and `-`, at most 64 characters."""


def new_id(prefix: str) -> str:
    """A fresh unguessable id (80 random bits) such as `call_5f0c…`, safe as one token of a subject."""
    return f"{prefix}_{secrets.token_hex(10)}"
