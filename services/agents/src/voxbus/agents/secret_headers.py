"""Secret headers of tools: stored, used by calls, and never shown again.

A client that got `MASK` for a value and sends it back means the value that is stored. That holds for a tool of the same name, a
header of the same name and the same server: a changed address would otherwise carry the stored secret to whoever changed it.
"""

from __future__ import annotations

from collections.abc import Mapping

from voxbus.agents.pointers import pointer
from voxbus.contracts.agents import MASK, AgentSpec
from voxbus.contracts.llm import HttpEndpoint, Tool
from voxbus.contracts.rpc import FieldProblem

_Known = Mapping[tuple[str, str, str], str]


def mask(spec: AgentSpec) -> AgentSpec:
    """The spec as it is shown."""
    if not any(tool.http and tool.http.secret_headers for tool in spec.tools):
        return spec
    return spec.model_copy(update={"tools": tuple(_masked(tool) for tool in spec.tools)})


def unmask(spec: AgentSpec, stored: AgentSpec | None) -> tuple[AgentSpec, list[FieldProblem]]:
    """The spec with the stored values in place of masks, and a problem for each mask that stands for nothing."""
    known = {} if stored is None else _known(stored)
    problems: list[FieldProblem] = []
    tools = tuple(_unmasked(tool, number, known, problems) for number, tool in enumerate(spec.tools))
    return spec.model_copy(update={"tools": tools}), problems


def _masked(tool: Tool) -> Tool:
    if tool.http is None or not tool.http.secret_headers:
        return tool
    return _with_secrets(tool, tool.http, dict.fromkeys(tool.http.secret_headers, MASK))


def _unmasked(tool: Tool, number: int, known: _Known, problems: list[FieldProblem]) -> Tool:
    if tool.http is None or MASK not in tool.http.secret_headers.values():
        return tool
    values = dict(tool.http.secret_headers)
    for header, value in values.items():
        if value != MASK:
            continue
        stored = known.get(_place(tool, tool.http, header))
        if stored is None:
            problems.append(_unknown(number, header))
        else:
            values[header] = stored
    return _with_secrets(tool, tool.http, values)


def _with_secrets(tool: Tool, http: HttpEndpoint, values: dict[str, str]) -> Tool:
    return tool.model_copy(update={"http": http.model_copy(update={"secret_headers": values})})


def _known(stored: AgentSpec) -> _Known:
    return {
        _place(tool, tool.http, header): value
        for tool in stored.tools
        if tool.http is not None
        for header, value in tool.http.secret_headers.items()
    }


def _place(tool: Tool, http: HttpEndpoint, header: str) -> tuple[str, str, str]:
    return tool.name, header.lower(), _server(http.url)


def _server(url: str) -> str:
    """Scheme, host and port."""
    scheme, _, rest = url.partition("://")
    end = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
    return f"{scheme}://{rest[:end]}".lower()


def _unknown(number: int, header: str) -> FieldProblem:
    return FieldProblem(
        path=pointer("tools", number, "http", "secret_headers", header),
        message=f"{MASK} stands for a stored value, and there is none for this header, tool and server: give the value",
    )
