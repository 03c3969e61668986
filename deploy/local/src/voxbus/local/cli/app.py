"""The `voxbus` command line, put together."""

from __future__ import annotations

import typer

from voxbus.local.cli import admin, agents, call, campaigns, demo, down, keys, login, status, streams, token, up, users

_EPILOG = (
    "Exit codes: 0 done · 1 tried and failed · 2 wrong usage · 3 no stack, or not reachable · "
    "4 refused: call, login, permission · 5 a stack already runs here · 130 Ctrl-C"
)

_SERVER = "At a server, through its REST API"

app = typer.Typer(
    name="voxbus",
    help="Voxbus on one machine: every service and server as local processes; calls, agents and campaigns from the command line.",
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
app.command("login", rich_help_panel=_SERVER)(login.login)
app.command("logout", rich_help_panel=_SERVER)(login.logout)
app.command("signup", rich_help_panel=_SERVER)(login.signup)
app.command("whoami", rich_help_panel=_SERVER)(login.whoami)
app.command("password", rich_help_panel=_SERVER)(login.password)
for group in (agents.app, campaigns.app, users.app, keys.app, admin.app):
    app.add_typer(group, rich_help_panel=_SERVER)
