"""Makes the example of the current layout: `python -m tests.indexeddb.make_layout`, after `make test-setup`.

An example is made once, by the library that writes the layout, and never again: later ones must read it.
"""

import json
import sys

from tests.conftest import serve
from tests.indexeddb.conftest import FOLDER, load_scenarios
from tests.lanes import runtimes

DATA = FOLDER / "data"


def main() -> None:
    """Write the file, which must not be there yet."""
    serving = serve()
    server = next(serving)
    try:
        with runtimes.chromium(server.url + runtimes.harness_path("page")) as python:
            load_scenarios(python, server)
            example = python.run_async("from tests.indexeddb.scenarios import layout; await layout.make_example()")
    finally:
        next(serving, None)
    path = DATA / f"layout-{json.loads(example)['version']}.json"
    if path.exists():
        sys.exit(f"{path} already exists; delete it to make it again")
    path.write_text(example, "utf-8")


if __name__ == "__main__":
    main()
