"""`voxbus status`: how every process of the running stack is."""

from __future__ import annotations

from voxbus.local.cli.common import JsonOption, StateDirOption, out, print_plain, reports_errors, run, state_dir
from voxbus.local.errors import ExitCode
from voxbus.local.state import DEFAULT_STATE_DIR
from voxbus.local.status import collect_report
from voxbus.local.tables import problem_lines, status_table


@reports_errors
def status(path: StateDirOption = DEFAULT_STATE_DIR, as_json: JsonOption = False) -> ExitCode:
    """Show every process of the stack with its readiness and its streams. Exit code 1 when one is not ready."""
    stack = state_dir(path).read()
    report = run(collect_report(stack))
    if as_json:
        print_plain(report.model_dump_json(indent=2))
    else:
        out.print(status_table(report))
        for line in problem_lines(report):
            out.print(f"! {line}", style="yellow", markup=False, soft_wrap=True)
        out.print(f"\nvoice {stack.voice_url}   bus {stack.nats_url}   logs {stack.log_dir}", markup=False)
    return ExitCode.OK if report.ready else ExitCode.FAILED
