"""Serves the demo from the checkout on 127.0.0.1, with everything that it loads, and with a server side.

    /demo/, /pyodide/, /wheels/, /js/     files, see tools/serve.py
    /server/                              how the server side is, in JSON; see tools/server_side.py
    /server/open, /server/kill, /server/start
                                          POST from the demo's own pages: what a visitor does with it; answers as above

Usage: python -m tools.serve_demo [--port PORT] [--csp POLICY]
PORT in the environment sets the port too; it is 8000 otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Coroutine
from http import HTTPStatus
from typing import Any, Final

from tools.serve import DEFAULT_PORT, DEMO_ROUTES, Handler, Server, run
from tools.server_side import ServerSide

PATH: Final = "/server/"
ANSWER_SECONDS: Final = 60.0


class DemoHandler(Handler):
    """Files, and what pages ask of the server side."""

    server: DemoServer

    def do_GET(self) -> None:  # noqa: N802 - the base class names it so
        """A file, or how the server side is."""
        if self.path == PATH:
            self._tell(None)
        else:
            super().do_GET()

    def do_POST(self) -> None:  # noqa: N802 - the base class names it so
        """Do what a visitor wants done."""
        work = self.server.verbs.get(self.path)
        if work is None:
            self.send_error(HTTPStatus.NOT_FOUND)
        elif self.headers["Origin"] not in self.server.origins:  # any page of the browser may send here
            self.send_error(HTTPStatus.FORBIDDEN)
        else:
            self._tell(work())

    def _tell(self, work: Coroutine[Any, Any, None] | None) -> None:
        body = json.dumps(self.server.told_after(work)).encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class DemoServer(Server):
    """A server of the demo; port 0 takes a free one."""

    handler = DemoHandler

    def __init__(self, port: int, csp: str | None = None) -> None:
        super().__init__(port, DEMO_ROUTES, csp)
        self.origins = [self.url, self.url.replace("127.0.0.1", "localhost")]
        self._side = ServerSide(self.origins)
        self.verbs = {f"{PATH}{work.__name__}": work for work in (self._side.open, self._side.kill, self._side.start)}
        self._loop = asyncio.new_event_loop()

    def told_after(self, work: Coroutine[Any, Any, None] | None) -> dict[str, Any]:
        """How the server side is, when something has been done with it; for other threads."""

        async def tell() -> dict[str, Any]:
            if work is not None:
                await work
            return self._side.told()

        return asyncio.run_coroutine_threadsafe(tell(), self._loop).result(ANSWER_SECONDS)

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Serve until interrupted or shut down. The server side has this thread, the answers have others."""
        serving = threading.Thread(target=super().serve_forever, args=(poll_interval,))
        serving.start()
        try:
            self._loop.run_until_complete(asyncio.to_thread(serving.join))
        finally:
            self.shutdown()
            self._loop.run_until_complete(self._side.close())
            self._loop.close()


def main() -> int:
    """Serve the demo until interrupted."""
    parser = argparse.ArgumentParser(description="Serve the demo from the checkout.")
    parser.add_argument("--port", type=int, default=os.environ.get("PORT") or DEFAULT_PORT)
    parser.add_argument("--csp", help="a Content-Security-Policy for every answer")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the files of the NATS server go with it
    return run("demo", arguments.port, lambda port: DemoServer(port, arguments.csp))


if __name__ == "__main__":
    sys.exit(main())
