"""A receiver of notifications, in a process of its own: ``python -m tests.notify.receiver MODE LOG``.

Behaves as the file MODE says at that moment, and appends each request to LOG, before it answers:
``{"path", "headers", "body"}``. Prints its port.
"""

from __future__ import annotations

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SLOW_SECONDS = 30.0


class Handler(BaseHTTPRequestHandler):
    """One request."""

    mode: Path
    log: Path

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.log.open("a") as file:
            file.write(json.dumps({"path": self.path, "headers": headers, "body": body}) + "\n")
        mode = self.mode.read_text().strip()
        if mode == "close":
            self.close_connection = True
        elif mode == "nonsense":
            self.wfile.write(b"SSH-2.0-OpenSSH\r\n")
            self.close_connection = True
        elif mode == "trickle":
            for _ in range(int(SLOW_SECONDS * 10)):
                self.wfile.write(b"H")
                self.wfile.flush()
                time.sleep(0.1)
        elif mode == "slow":
            time.sleep(SLOW_SECONDS)
        else:
            self.send_response(int(mode))
            if mode.startswith("3"):
                self.send_header("location", "/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

    do_GET = do_POST

    def log_message(self, *words: object) -> None:
        """Nothing on standard error."""


def main(mode: str, log: str) -> None:
    """Serve until killed."""
    Handler.mode, Handler.log = Path(mode), Path(log)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
