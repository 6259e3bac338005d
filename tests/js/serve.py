"""Serves what the tests of the JavaScript API load, on 127.0.0.1 and any free port, which it prints.

/             tests/js/pages/, and the examples of docs/javascript.md by the names that they begin with
/pymailbox/   build/npm/package/, the npm package
/pymailbox.js the same in one file, as in a wheel, for pages and workers that are loaded again and again
/pyodide/     build/pyodide/, the Pyodide distribution
/wheels/      build/wheels/, the wheels
"""

import os
import re
import shutil
import tempfile
from pathlib import Path

from tools.build_npm import PACKAGE
from tools.serve import DEMO_ROUTES, ROOT, Handler, Server
from tools.wheel_hook import WHOLE_ENGINE, bundle

PAGES = Path(__file__).parent / "pages"
DOCUMENT = ROOT / "docs" / "javascript.md"
_EXAMPLE = re.compile(r"^```js\n// ([\w-]+\.js)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class IsolatingHandler(Handler):
    """Lets the pages of the races share memory with their workers."""

    def end_headers(self) -> None:
        """Add what browsers want for that."""
        if self.path.startswith("/races/"):
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()


def examples() -> dict[str, str]:
    """The document's examples, by the file names in their first lines."""
    return dict(_EXAMPLE.findall(DOCUMENT.read_text(encoding="utf-8")))


def main() -> None:
    """Serve until interrupted."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shutil.copytree(PAGES, folder, dirs_exist_ok=True)
        for name, code in examples().items():
            (folder / name).write_text(code, encoding="utf-8")
        # what is measured has to be in its own files
        is_measured = "PYMAILBOX_COVERAGE" in os.environ
        engine = b'export * from "/pymailbox/index.js";' if is_measured else bundle(WHOLE_ENGINE, ROOT)
        (folder / "pymailbox.js").write_bytes(engine)
        with Server(0, DEMO_ROUTES | {"/": folder, "/pymailbox/": PACKAGE}) as server:
            server.RequestHandlerClass = IsolatingHandler
            print(f"The JavaScript API's pages are at {server.url}/", flush=True)  # noqa: T201 - for whoever started it
            server.serve_forever()


if __name__ == "__main__":
    main()
