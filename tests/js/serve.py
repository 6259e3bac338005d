"""Serves what the tests of the JavaScript API load, on 127.0.0.1 and any free port, which it prints.

/             tests/js/pages/, and the examples of docs/javascript.md by the names that they begin with
/recipes/     the programs of docs/recipes/, each in a folder of its own
/cdn/         what these load from elsewhere, as tools.serve_examples has it
/pymailbox/   build/npm/package/, the npm package
/pyodide/     build/pyodide/, the Pyodide distribution
/wheels/      build/wheels/, the wheels
"""

import re
import shutil
import tempfile
from pathlib import Path

from tests.unit.recipes import RECIPES, files_of
from tools.build_npm import PACKAGE
from tools.serve import DEMO_ROUTES, ROOT, Handler, Server
from tools.serve_examples import copies, localized

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
        folder = Path(temporary) / "site"
        shutil.copytree(PAGES, folder)
        for name, code in examples().items():
            (folder / name).write_text(code, encoding="utf-8")
        # browsers ask for it
        (folder / "favicon.ico").touch()
        for page in RECIPES.glob("*.md"):
            recipe = folder / "recipes" / page.stem
            recipe.mkdir(parents=True)
            for name, code in files_of(page.stem).items():
                (recipe / name).write_text(localized(code), encoding="utf-8")
        routes = copies(Path(temporary)) | {"/": folder, "/pymailbox/": PACKAGE}
        with Server(0, DEMO_ROUTES | routes) as server:
            server.RequestHandlerClass = IsolatingHandler
            print(f"The JavaScript API's pages are at {server.url}/", flush=True)  # noqa: T201 - for whoever started it
            server.serve_forever()


if __name__ == "__main__":
    main()
