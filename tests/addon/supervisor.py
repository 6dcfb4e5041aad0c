"""A Supervisor over HTTP, of which only what the add-on asks is there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

TOKEN = "the-token"


class Supervisor:
    """What it answers, and what it was told."""

    def __init__(self) -> None:
        self.options: dict[str, object] = {}
        self.broker: dict[str, object] | None = None
        """The MQTT service; None: no add-on provides one."""
        self.takes_discovery = True
        self.discovered: list[Any] = []
        self.url = ""

    def answer(self, method: str, path: str, body: bytes) -> object:
        """The data of the answer; None: an error."""
        match method, path:
            case "GET", "/services/mqtt":
                return self.broker
            case "GET", "/addons/self/options/config":
                return self.options
            case "POST", "/discovery" if self.takes_discovery:
                self.discovered.append(json.loads(body))
                return {"uuid": "d5c0"}
        return None


@contextmanager
def serving(supervisor: Supervisor) -> Iterator[Supervisor]:
    """Let it answer on a free loopback port."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            self._respond()

        def do_POST(self) -> None:
            self._respond()

        def _respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            data = None
            if self.headers.get("Authorization") == f"Bearer {TOKEN}":
                data = supervisor.answer(self.command, self.path, body)
            result = {"result": "ok", "data": data} if data is not None else {"result": "error"}
            payload = json.dumps(result).encode()
            self.send_response(200 if data is not None else 400)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_arguments: object) -> None:
            """Nothing: the tests look at what was told."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    supervisor.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield supervisor
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
