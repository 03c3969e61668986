"""The `voxbus` command line, put together."""

from __future__ import annotations

import typer

from voxbus.local.cli import call, demo, down, status, streams, token, up

_EPILOG = (
    "Exit codes: 0 done · 1 tried and failed · 2 wrong usage · 3 no stack, or not reachable · 4 call refused · "
    "5 a stack already runs here · 130 Ctrl-C"
)

app = typer.Typer(
    name="voxbus",
    help="Voxbus on one machine: every service and server as local processes, and calls from the command line.",
    epilog=_EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.command("up")(up.up)
app.command("down")(down.down)
app.command("status")(status.status)
app.command("call")(call.call)
app.command("token")(token.token)
app.add_typer(streams.app)
