"""A service of the stack, faked as a process: answers /health and /ready, writes a diary, and misbehaves when told to.

Run as a script; `command` gives the command line.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def command(name: str, port: int, diary: Path, *options: str) -> tuple[str, ...]:
    """The command that runs this fake."""
    return (sys.executable, "-S", __file__, name, str(port), str(diary), *options)


def main() -> None:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("port", type=int)
    parser.add_argument("diary", type=Path)
    parser.add_argument("--ready-after", type=float, default=0.0)
    parser.add_argument("--never-ready", action="store_true")
    parser.add_argument("--die", type=int, help="exit at once with this code")
    parser.add_argument("--deaf", action="store_true", help="ignore SIGTERM")
    parser.add_argument("--identity", default=os.environ.get("VOXBUS_INSTANCE_ID", ""), help="the id it tells")
    parser.add_argument("--child", action="store_true", help="have a child process that ignores SIGTERM")
    options = parser.parse_args()

    def note(text: str) -> None:
        with options.diary.open("a") as diary:
            diary.write(f"{options.name} {text}\n")

    note(f"started {os.getpid()}")
    if options.die is not None:
        sys.stdout.write(f"about to exit with {options.die}\n")
        sys.exit(options.die)
    if options.child:
        child = subprocess.Popen(
            [sys.executable, "-S", "-c", "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()"]
        )
        note(f"child {child.pid}")
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: None if options.deaf else stopping.set())
    began = time.monotonic()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            ready = not options.never_ready and time.monotonic() - began >= options.ready_after
            if self.path == "/ready" and ready:
                note("ready")
            self.send_response(200 if ready or self.path == "/health" else 503)
            self.end_headers()
            self.wfile.write(json.dumps({"instance_id": options.identity}).encode())

        def log_message(self, *args: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f'{{"level": "info", "service": "fake", "message": "serving", "port": {options.port}}}\n')
    sys.stdout.flush()
    stopping.wait()
    note("stopped")


if __name__ == "__main__":
    main()
