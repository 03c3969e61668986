"""`voxbus`, also as `python -m voxbus.local`."""

from __future__ import annotations

from voxbus.local.cli.app import app


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
