"""A server of files from the checkout on 127.0.0.1; by default the demo's, with everything that it loads:

/demo/        demo/, to which / redirects, so that its service worker does not control anything else at this port
/pyodide/     build/pyodide/, the Pyodide distribution
/wheels/      build/wheels/, the wheels; wheel.json there has the names: {"file": …, "page": …, "nats": …}
/js/          js/, the IndexedDB engine
"""

import errno
import io
import os
import socket
import sys
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parent.parent
HOST = "127.0.0.1"
DEFAULT_PORT = 8000
MAX_PORT = 2**16 - 1

# URL prefix to folder; the longest prefix that matches wins.
DEMO_ROUTES = {
    "/demo/": ROOT / "demo",
    "/pyodide/": ROOT / "build" / "pyodide",
    "/wheels/": ROOT / "build" / "wheels",
    "/js/": ROOT / "js",
}

LASTING = ("/pyodide", "/python_stdlib.zip", "/js/")
"""How the paths begin of what does not change while tests run: Pyodide, of which browsers then keep what they have
compiled, and the engine's many modules.
"""


class Handler(SimpleHTTPRequestHandler):
    """Serves files from several folders; each answer gives its length, and whether it may be cached."""

    server: "Server"
    protocol_version = "HTTP/1.1"
    # Explicit, since the system's own table may lack them or say something else.
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".css": "text/css; charset=utf-8",
        ".html": "text/html; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".json": "application/json",
        ".mjs": "text/javascript; charset=utf-8",
        ".py": "text/plain; charset=utf-8",
        ".svg": "image/svg+xml",
        ".wasm": "application/wasm",
        ".whl": "application/zip",
        ".zip": "application/zip",
    }

    def send_head(self) -> io.BytesIO | BinaryIO | None:
        """Redirect to the demo from paths without anything else."""
        path, mark, query = self.path.partition("?")
        if path != "/" or "/" in self.server.routes:
            return super().send_head()
        self.send_response(HTTPStatus.FOUND)
        self.send_header("Location", f"/demo/{mark}{query}")
        self.send_header("Content-Length", "0")
        self.end_headers()
        return None

    def translate_path(self, path: str) -> str:
        """The file that a request's path stands for; None outside the served folders."""
        path = unquote(urlsplit(path).path)
        prefix = max((prefix for prefix in self.server.routes if path.startswith(prefix)), key=len, default=None)
        if prefix is None:
            return str(ROOT / "no such file")
        folder = self.server.routes[prefix]
        file = (folder / path.removeprefix(prefix)).resolve()
        if not file.is_relative_to(folder.resolve()):
            return str(folder / "no such file")
        return str(file) + ("/" if path.endswith("/") else "")

    def list_directory(self, path: str | os.PathLike[str]) -> None:
        """No listings: a folder without index.html does not exist."""
        self.send_error(HTTPStatus.NOT_FOUND)

    def end_headers(self) -> None:
        """Add the headers that every answer has."""
        # a request that cannot be read has no path
        is_lasting = getattr(self, "path", "").startswith(self.server.lasting)
        self.send_header("Cache-Control", "max-age=3600" if is_lasting else "no-cache")
        if self.server.csp:
            self.send_header("Content-Security-Policy", self.server.csp)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Log only refusals."""

    def log_error(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Log what could not be served."""
        print(f"{self.path if hasattr(self, 'path') else '-'}: {format % args}", file=sys.stderr)


class Server(ThreadingHTTPServer):
    """A server of `routes` on 127.0.0.1; port 0 takes a free one.

    Raises `OSError` (`errno.EADDRINUSE`) when the port is taken.
    """

    daemon_threads = True
    handler: type[Handler] = Handler
    lasting: tuple[str, ...] = ()
    """How the paths begin of what browsers need not ask for again within the hour: nothing may change there."""

    def __init__(self, port: int, routes: Mapping[str, Path] = DEMO_ROUTES, csp: str | None = None) -> None:
        self.routes = routes
        self.csp = csp
        super().__init__((HOST, port), self.handler)

    @property
    def url(self) -> str:
        """The address of `/`, without the slash."""
        return f"http://{HOST}:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Do not report a browser that went away during an answer."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def is_taken(port: int) -> bool:
    """Whether something listens on the port, which SO_REUSEADDR might let pass on some systems."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def run(target: str, port: int, make: Callable[[int], Server]) -> int:
    """Serve what `make` makes for a port until interrupted, as make's `target` does; the exit code."""
    try:
        if port and is_taken(port):
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        server = make(port)
    except (OSError, OverflowError) as error:
        another = port + 1 if 0 < port < MAX_PORT else DEFAULT_PORT
        print(f"Port {port} can't be used ({error}); choose another: make {target} PORT={another}", file=sys.stderr)
        return 1
    with server:
        print(f"{server.url}/ has the {target} (Ctrl+C stops it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0
