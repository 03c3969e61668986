"""JSON pointers (RFC 6901)."""

from __future__ import annotations


def pointer(*parts: str | int) -> str:
    """The pointer to a place, such as `/tools/0/name`."""
    return "".join(f"/{escape(str(part))}" for part in parts)


def escape(part: str) -> str:
    """One part of a pointer."""
    return part.replace("~", "~0").replace("/", "~1")
