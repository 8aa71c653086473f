#!/usr/bin/python3
"""A webhook receiver: writes what it gets to /run/alerts, one JSON line a message, with the path it came to."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with open("/run/alerts", "a", encoding="utf-8") as file:
            file.write(json.dumps({"path": self.path, **body}) + "\n")
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", 9999), Receiver).serve_forever()
