"""Serves the demo from the checkout on 127.0.0.1, with everything that it loads, and with a server side.

    /demo/, /pyodide/, /wheels/, /js/     files, see tools/serve.py. /demo/ is as it was when this began, with its
                                          modules in few files, which a browser loads in a third of the time
    /server/                              how the server side is, in JSON; see tools/server_side.py. Only by the names
                                          127.0.0.1 and localhost
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
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Coroutine, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from tools.serve import DEFAULT_PORT, DEMO_ROUTES, ROOT, Handler, Server, run
from tools.server_side import ServerSide
from tools.wheel_hook import bundle_files

PATH: Final = "/server/"
ANSWER_SECONDS: Final = 60.0

DEMO: Final = DEMO_ROUTES["/demo/"]
MODULES: Final = ("main.js", "worker.js", "relay-worker.js")
"""Those that pages and workers begin with."""
NOT_A_MODULE: Final = "service-worker.js"
"""It imports nothing."""


class DemoHandler(Handler):
    """Files, and what pages ask of the server side."""

    server: DemoServer

    def do_GET(self) -> None:  # noqa: N802 - the base class names it so
        """A file, or how the server side is."""
        if self.path != PATH:
            super().do_GET()
        elif self._has_our_name:
            self._tell(self.server.told_after(None))
        else:
            self._refuse()

    def do_POST(self) -> None:  # noqa: N802 - the base class names it so
        """Do what a visitor wants done."""
        work = self.server.verbs.get(self.path)
        if work is None:
            self.send_error(HTTPStatus.NOT_FOUND)
        elif self._has_our_name and self.headers["Origin"] in self.server.origins:  # any page may send here
            self._tell(self.server.told_after(work()))
        else:
            self._refuse()

    @property
    def _has_our_name(self) -> bool:
        """Whether it is asked by its own name, and not by one of a site, which may stand for any machine."""
        return f"http://{self.headers['Host']}" in self.server.origins

    def _refuse(self) -> None:
        self.log_error("code %d", HTTPStatus.FORBIDDEN)
        places = " or ".join(f"{origin}/" for origin in self.server.origins)
        problem = f"The demo has no server side for pages at this address. Open it at {places}"
        self._tell({"problem": problem}, HTTPStatus.FORBIDDEN)

    def _tell(self, what: dict[str, Any], status: HTTPStatus = HTTPStatus.OK) -> None:
        body = json.dumps(what).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class DemoServer(Server):
    """A server of the demo; port 0 takes a free one."""

    handler = DemoHandler

    def __init__(self, port: int, csp: str | None = None, routes: Mapping[str, Path] = DEMO_ROUTES) -> None:
        super().__init__(port, routes, csp)
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

        async def serve() -> None:
            try:
                await asyncio.to_thread(serving.join)
            finally:
                self.shutdown()
                await self._side.close()

        serving.start()
        # an interrupt cancels it, instead of being raised in the midst of anything
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(serve())


def copy_bundled(folder: Path) -> None:
    """Put the page into a folder, with its modules in few files."""
    for file in DEMO.iterdir():
        if file.name == NOT_A_MODULE or file.suffix in (".html", ".css", ".py"):
            shutil.copy(file, folder)
    bundle_files(MODULES, DEMO, folder, ROOT)


def end_as_interrupted() -> None:
    """Let this process end by SIGTERM, and with its terminal, as by an interrupt, once: so that the NATS server and its
    files go with it.
    """
    numbers = [number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None]
    heard = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]  # as nohup has it

    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a script's background; then nothing would end it
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt(*_: object) -> None:
        for number in heard:
            signal.signal(number, signal.SIG_IGN)
        signal.raise_signal(signal.SIGINT)

    for number in heard:
        signal.signal(number, interrupt)


def main() -> int:
    """Serve the demo until interrupted."""
    parser = argparse.ArgumentParser(description="Serve the demo from the checkout.")
    parser.add_argument("--port", type=int, default=os.environ.get("PORT") or DEFAULT_PORT)
    parser.add_argument("--csp", help="a Content-Security-Policy for every answer")
    arguments = parser.parse_args()
    end_as_interrupted()
    with tempfile.TemporaryDirectory(prefix="pymailbox-demo-") as temporary:
        folder = Path(temporary)
        copy_bundled(folder)
        routes = {**DEMO_ROUTES, "/demo/": folder}
        return run("demo", arguments.port, lambda port: DemoServer(port, arguments.csp, routes))


if __name__ == "__main__":
    sys.exit(main())
