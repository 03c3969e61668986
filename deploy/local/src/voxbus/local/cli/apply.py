"""`voxbus agents apply`: bring the agents of a server to what files say."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from voxbus.local.agent_files import read_agents
from voxbus.local.api import ApiClient
from voxbus.local.applying import Applied, apply_agent
from voxbus.local.cli.common import JsonOption, out, reports_errors
from voxbus.local.cli.remote import StackDirOption, UrlOption, with_api
from voxbus.local.cli.show import print_json


@reports_errors
def apply(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE|DIR…", help="JSON files with an id, or directories of them.")
    ],
    publish: Annotated[bool, typer.Option("--publish", help="Publish what changed, so that calls use it.")] = False,
    url: UrlOption = None,
    path: StackDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create the agents of files, and replace the drafts of those that differ. Doing it again changes nothing.

    Example: voxbus agents apply agents/ --publish
    """
    agents = read_agents(*files)

    async def work(api: ApiClient) -> list[Applied]:
        applied = []
        for agent in agents:
            applied.append(await apply_agent(api, agent, publish=publish))
            if not as_json:
                _tell(applied[-1])
        return applied

    applied = with_api(url, path, work)
    if as_json:
        print_json([asdict(one) for one in applied])


def _tell(applied: Applied) -> None:
    published = f", version {applied.version} published" if applied.published else ""
    out.print(f"{applied.agent_id}: {applied.change}{published}", markup=False)
