"""`python -m voxbus.auth`"""

from __future__ import annotations

from voxbus.auth.app import AuthService
from voxbus.auth.settings import AuthSettings
from voxbus.runtime.process import load_settings, run_process


def main() -> None:
    """Run the service until SIGTERM or SIGINT."""
    run_process("auth", load_settings(AuthSettings), AuthService)


if __name__ == "__main__":
    main()
