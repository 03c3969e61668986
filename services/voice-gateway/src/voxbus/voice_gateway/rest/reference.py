"""The OpenAPI document as one page for people. Rendered here, with no script and nothing from elsewhere: the machine may be
offline."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

_STYLE: Final = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem;color:#1b1f24;background:#fff}
code,pre{font:14px/1.4 ui-monospace,monospace}pre{background:#f3f4f6;padding:.7rem;overflow:auto;border-radius:4px}
summary{cursor:pointer;padding:.35rem 0}details{border-top:1px solid #d8dce1}details>div{padding:0 0 1rem 1rem}
.method{display:inline-block;width:4.5rem;font-weight:700}table{border-collapse:collapse;width:100%}
td,th{text-align:left;vertical-align:top;padding:.2rem .8rem .2rem 0;border-top:1px solid #e7e9ec}nav a{margin-right:1rem}
@media(prefers-color-scheme:dark){body{background:#14171a;color:#e3e6e9}pre{background:#1f2429}a{color:#7db7ff}
details,td,th{border-color:#343b42}}
"""
_METHODS: Final = ("get", "post", "put", "patch", "delete")


def reference_page(document: Mapping[str, Any]) -> str:
    """The HTML page."""
    info = document["info"]
    tags = document.get("tags", [])
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(info['title'])}</title>",
        f"<meta name=viewport content='width=device-width'><style>{_STYLE}</style>",
        f"<h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>",
        _prose(info.get("description", "")),
        "<p>For programs: <a href='openapi.json'>openapi.json</a>.</p><nav>",
        *(f"<a href='#{_anchor(tag['name'])}'>{escape(tag['name'])}</a>" for tag in tags),
        "<a href='#schemas'>Schemas</a></nav>",
    ]
    for tag in tags:
        parts.append(f"<h2 id='{_anchor(tag['name'])}'>{escape(tag['name'])}</h2>{_prose(tag['description'])}")
        parts.extend(_operation(*found) for found in _operations(document, tag["name"]))
    parts.append("<h2 id=schemas>Schemas</h2>")
    parts.extend(_schema(name, schema) for name, schema in document["components"]["schemas"].items())
    return "\n".join(parts)


def _operations(document: Mapping[str, Any], tag: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item and tag in item[method].get("tags", ()):
                yield method, path, item[method]


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(parameter['name'])}</code><td>{parameter['in']}"
        f"{', needed' if parameter.get('required') else ''}<td>{_type(parameter['schema'])}"
        f"<td>{_inline(parameter.get('description') or parameter['schema'].get('description', ''))}"
        for parameter in operation.get("parameters", ())
    )
    return "".join(
        (
            f"<details><summary><span class=method>{method.upper()}</span><code>{escape(path)}</code> ",
            f"{escape(operation.get('summary', ''))}</summary><div>",
            _prose(operation.get("description", "")),
            f"<table>{rows}</table>" if rows else "",
            _body(operation.get("requestBody")),
            "<h4>Answers</h4><table>",
            *(_response(status, response) for status, response in operation["responses"].items()),
            "</table></div></details>",
        )
    )


def _body(body: Mapping[str, Any] | None) -> str:
    if body is None:
        return ""
    kinds = ", ".join(f"<code>{escape(kind)}</code>" for kind in body["content"])
    media = next(iter(body["content"].values()))
    examples = [example["value"] for example in media.get("examples", {}).values()]
    shown = "".join(f"<pre>{escape(_text(example))}</pre>" for example in examples)
    return f"<h4>Body</h4><p>{_type(media.get('schema', {}))} as {kinds}</p>{shown}"


def _text(example: Any) -> str:
    return example if isinstance(example, str) else json.dumps(example, indent=2, ensure_ascii=False)


def _response(status: str, response: Mapping[str, Any]) -> str:
    schemas = " ".join(_type(media.get("schema", {})) for media in response.get("content", {}).values())
    return f"<tr><td><code>{status}</code><td>{_inline(response.get('description', ''))}<td>{schemas}"


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    needed = schema.get("required", ())
    rows = "".join(
        f"<tr><td><code>{escape(field)}</code><td>{_type(content)}{'' if field not in needed else ', needed'}"
        f"<td>{_inline(content.get('description', ''))}"
        for field, content in schema.get("properties", {}).items()
    )
    content = f"<table>{rows}</table>" if rows else f"<p>{_type(schema)}</p>"
    heading = f"<summary><code>{escape(name)}</code></summary>"
    return (
        f"<details id='{escape(name)}'>{heading}<div>{_prose(schema.get('description', ''))}{content}</div></details>"
    )


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f"<a href='#{name}'><code>{name}</code></a>"
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    if "enum" in schema:
        return " · ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return escape(str(schema.get("type", "any")) + _bounds(schema))


def _bounds(schema: Mapping[str, Any]) -> str:
    names = {"minLength": "≥", "maxLength": "≤", "minimum": "≥", "maximum": "≤", "pattern": ""}
    found = [f"{sign} {schema[name]}".strip() for name, sign in names.items() if name in schema]
    return f" ({', '.join(found)})" if found else ""


def _prose(text: str) -> str:
    return "".join(f"<p>{_inline(part)}</p>" for part in text.split("\n\n") if part.strip())


def _inline(text: str) -> str:
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
    return re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", text)


def _anchor(name: str) -> str:
    return escape(name.lower().replace(" ", "-"))
