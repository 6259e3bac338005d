"""Serves what the tests of the JavaScript API and of the documentation load, on 127.0.0.1 and any free port, which it
prints.

/             tests/js/pages/; the documentation's examples by the names that they begin with; docs.json, which examples
              there are, and which blocks go into a page with Python; the whole wheel by its name
/recipes/     the programs of docs/recipes/, each in a folder of its own
/cdn/         what these load from elsewhere, as tools.serve_examples has it
/pymailbox/   build/npm/package/, the npm package
/pymailbox.js the same in one file, as in a wheel, for pages and workers that are loaded again and again
/bundled/     the same with the inspector in few files, for its page
/pyodide/     build/pyodide/, the Pyodide distribution
/wheels/      build/wheels/, the wheels
"""

import json
import os
import shutil
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

from tests.docs.blocks import BLOCKS, Block, blocks_in
from tests.unit.recipes import RECIPES, files_of
from tools.build_npm import PACKAGE
from tools.build_wheel import WHEELS, wheel_name
from tools.serve import DEMO_ROUTES, ROOT, Handler, Server
from tools.serve_examples import copies, localized
from tools.wheel_hook import WHOLE_ENGINE, bundle, bundle_files

PAGES = Path(__file__).parent / "pages"


class IsolatingHandler(Handler):
    """Lets the pages of the races share memory with their workers."""

    def end_headers(self) -> None:
        """Add what browsers want for that."""
        if self.path.startswith("/races/"):
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()


def examples() -> dict[str, str]:
    """The examples by the file names in their first lines."""
    codes = [block.code for blocks in blocks_in("page").values() for block in blocks]
    return {code.partition("\n")[0].removeprefix("// "): code for code in codes}


def in_pyodide() -> list[Block]:
    """The blocks for a page with Python, and README's actor with the last line that it is to have there."""
    (actor,) = (block for block in BLOCKS if block.name == "README.md#an-actor")
    changed = replace(actor, code=actor.code.replace("asyncio.run(main())", "await main()"))
    assert changed != actor
    return [*(block for blocks in blocks_in("pyodide").values() for block in blocks), changed]


def main() -> None:
    """Serve until interrupted."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "site"
        shutil.copytree(PAGES, folder)
        for name, code in examples().items():
            (folder / name).write_text(code, encoding="utf-8")
        # what is measured has to be in its own files
        is_measured = "PYMAILBOX_COVERAGE" in os.environ
        engine = b'export * from "/pymailbox/index.js";' if is_measured else bundle(WHOLE_ENGINE, ROOT)
        (folder / "pymailbox.js").write_bytes(engine)
        bundle_files(("index.js", "inspector/index.js"), ROOT / "js", folder / "bundled", ROOT)
        known = {"examples": list(examples()), "inPyodide": [asdict(block) for block in in_pyodide()]}
        (folder / "docs.json").write_text(json.dumps(known), encoding="utf-8")
        shutil.copy(WHEELS / wheel_name(), folder)
        # browsers ask for it
        (folder / "favicon.ico").touch()
        for page in RECIPES.glob("*.md"):
            recipe = folder / "recipes" / page.stem
            recipe.mkdir(parents=True)
            for name, code in files_of(page.stem).items():
                (recipe / name).write_text(localized(code), encoding="utf-8")
        routes = copies(Path(temporary)) | {"/": folder, "/pymailbox/": PACKAGE}
        if is_measured:
            routes["/bundled/"] = PACKAGE
        with Server(0, DEMO_ROUTES | routes) as server:
            server.RequestHandlerClass = IsolatingHandler
            print(f"The JavaScript API's pages are at {server.url}/", flush=True)  # noqa: T201 - for whoever started it
            server.serve_forever()


if __name__ == "__main__":
    main()
