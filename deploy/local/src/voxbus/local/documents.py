"""JSON that people write: files, `--set name=value`, and what they change in an editor."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from voxbus.local.errors import CommandError, UsageError


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file (`-` is standard input); raises UsageError that says where it is wrong."""
    try:
        text = Path("/dev/stdin").read_text() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise UsageError(f"{path} cannot be read ({reason})") from None
    return parse_object(text, str(path))


def parse_object(text: str, source: str) -> dict[str, Any]:
    """The JSON object in a text."""
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except ValueError as error:
        raise UsageError(f"{source} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise UsageError(f"{source} holds no JSON object", 'write it like {"name": "Front desk"}')
    return value


def parse_settings(texts: Iterable[str]) -> dict[str, Any]:
    """`greeting=Hello` and `limits.silence_s=12` as one merge patch; raises UsageError.

    A value that is JSON is taken as such (`null` removes the field), everything else as text.
    """
    patch: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        parts = name.split(".")
        if not equals or not all(parts):
            raise UsageError(f"--set {text}: not NAME=VALUE", "write it like --set greeting='Good morning.'")
        target = patch
        for part in parts[:-1]:
            inner = target.setdefault(part, {})
            if not isinstance(inner, dict):
                raise UsageError(f"--set {text}: {part} is set to a value already")
            target = inner
        target[parts[-1]] = _value(value)
    return patch


def merge(target: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """A JSON merge patch (RFC 7396) applied."""
    result = dict(target)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            inner = result.get(name)
            result[name] = merge(inner if isinstance(inner, dict) else {}, value)
        else:
            result[name] = value
    return result


def patch_between(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The merge patch that makes `after` of `before`."""
    patch: dict[str, Any] = {name: None for name in before if name not in after}
    for name, value in after.items():
        known = before.get(name)
        if name in before and known == value:
            continue
        if isinstance(known, dict) and isinstance(value, dict):
            patch[name] = patch_between(known, value)
        else:
            patch[name] = value
    return patch


def edit_object(content: dict[str, Any], name: str) -> tuple[dict[str, Any], Path]:
    """What the user makes of it in $VISUAL or $EDITOR, and the file that holds it, which the caller removes.

    The file stays when it is not JSON any more, so that nothing typed is lost.
    """
    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    descriptor, file_name = tempfile.mkstemp(prefix=f"voxbus-{name}-", suffix=".json")
    file = Path(file_name)
    before = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(before)
    try:
        code = subprocess.run([*editor, file_name], check=False).returncode  # noqa: S603  # the user's own editor
    except OSError as error:
        file.unlink(missing_ok=True)
        raise UsageError(f"{editor[0]} cannot be started ({error.strerror})", "name your editor in $EDITOR") from None
    if code != 0:
        hint = f"what you wrote is in {file}"
        if file.exists() and file.read_text(encoding="utf-8", errors="replace") == before:
            file.unlink()
            hint = ""
        raise CommandError(f"{editor[0]} ended with code {code}; nothing was changed", hint)
    try:
        return read_object(file), file
    except UsageError as error:
        error.hint = f"what you wrote is in {file}; mend it, then send it with --file"
        raise


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except ValueError:
        return text


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")
