"""`python -m voxbus.voice_gateway.rest`"""

from __future__ import annotations

from voxbus.runtime.process import load_settings, run_process
from voxbus.voice_gateway.rest.app import RestGateway
from voxbus.voice_gateway.rest.settings import RestSettings


def main() -> None:
    """Run the REST API until SIGTERM or SIGINT."""
    run_process("rest-gateway", load_settings(RestSettings), RestGateway)


if __name__ == "__main__":
    main()
