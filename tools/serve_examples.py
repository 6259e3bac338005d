"""Serves the examples on 127.0.0.1, with everything that they load: nothing comes from the network.

    /                 examples/, where the addresses of the CDN are those of the folders below
    /jupyterlite/     build/jupyterlite/, the site of the JupyterLite example
    /cdn/pyodide/     build/pyodide-examples/, a Pyodide distribution; its lock file, which micropip reads first, has
                      pymailbox too, in the wheel for pages
    /cdn/pymailbox/   build/npm/package/, the npm package
    /cdn/pyscript/    PyScript, from npm

Usage: python -m tools.serve_examples [--port PORT]
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from pymailbox import __version__
from tools.build_npm import PACKAGE
from tools.build_wheel import PAGE_TAG, PAGE_WHEELS
from tools.pyodide_dist import LOCK, lock_entry, python_version_of
from tools.serve import DEFAULT_PORT, ROOT, Server, run

EXAMPLES = ROOT / "examples"
WHEEL = PAGE_WHEELS / f"pymailbox-{__version__}-{PAGE_TAG}.whl"
DIST = ROOT / "build" / "pyodide-examples"
JUPYTERLITE = ROOT / "build" / "jupyterlite"
CDN = "https://cdn.jsdelivr.net"
PINS = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))["devDependencies"]
PYSCRIPT = ROOT / "node_modules" / "@pyscript" / "core" / "dist"

# What the examples load from the CDN, in the tested versions, and where it is served here.
COPIES = {
    f"{CDN}/pyodide/v{PINS['pyodide']}/full/": "/cdn/pyodide/",
    f"{CDN}/npm/@pyscript/core@{PINS['@pyscript/core']}/dist/": "/cdn/pyscript/",
    f"{CDN}/npm/pymailbox@{__version__}/": "/cdn/pymailbox/",
}


IGNORED = shutil.ignore_patterns("*.md", "*.db*", "_output", "__pycache__")
"""What is not part of an example, or is left behind by running it."""


def localized(text: str) -> str:
    """A file of the examples as it is served here.

    Raises `ValueError` if it would load something else, such as another version.
    """
    for address, path in COPIES.items():
        text = text.replace(address, path)
    if CDN in text:
        raise ValueError(f"it loads what is not served here; {', '.join(COPIES)} are")
    return text


def lock_with_pymailbox() -> str:
    """The lock file of the Pyodide distribution, with the wheel for pages in it as if Pyodide came with it."""
    lock = json.loads((DIST / LOCK).read_text(encoding="utf-8"))
    lock["packages"]["pymailbox"] = lock_entry(WHEEL, lock, python_version_of(lock))
    return json.dumps(lock)


def copies(folder: Path) -> dict[str, Path]:
    """Where the files are that the examples load from the CDN, by their address here; `folder` gets the lock file."""
    lock = folder / LOCK
    lock.write_text(lock_with_pymailbox(), encoding="utf-8")
    return {
        "/cdn/pyodide/": DIST,
        f"/cdn/pyodide/{LOCK}": lock,
        f"/cdn/pyodide/{WHEEL.name}": WHEEL,
        "/cdn/pymailbox/": PACKAGE,
        "/cdn/pyscript/": PYSCRIPT,
    }


def copy_localized(source: str, destination: str) -> None:
    """Copy one file, for `shutil.copytree`."""
    try:
        Path(destination).write_text(localized(Path(source).read_text(encoding="utf-8")), encoding="utf-8")
    except ValueError as error:
        raise SystemExit(f"{source}: {error}") from error


def main() -> int:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="Serve the examples from the checkout.")
    parser.add_argument("--port", type=int, default=os.environ.get("PORT") or DEFAULT_PORT)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        site = Path(temporary) / "site"
        shutil.copytree(EXAMPLES, site, copy_function=copy_localized, ignore=IGNORED)
        # browsers request it
        (site / "favicon.ico").touch()
        routes = {"/": site, "/jupyterlite/": JUPYTERLITE}
        return run("examples", arguments.port, lambda port: Server(port, routes | copies(Path(temporary))))


if __name__ == "__main__":
    sys.exit(main())
