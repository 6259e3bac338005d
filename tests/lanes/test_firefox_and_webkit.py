"""The lanes of Firefox, which Playwright drives, and of WebKitGTK, which selenium drives."""

from collections.abc import Iterator

import pytest

from tests.lanes import runtimes
from tests.lanes.in_pyodide import install_wheel, run_cell_in_pyodide
from tests.lanes.runtimes import PythonRuntime
from tests.lanes.table import PLAN, Table
from tools.nats_servers import Servers
from tools.serve import Server

pytestmark = pytest.mark.browser


CELLS = [
    (name, place, backend)
    for name in ("Firefox", "WebKit")
    for place in ("page", "worker")
    for backend in PLAN[f"{name} {place}"]
]


@pytest.fixture(scope="module")
def name(request: pytest.FixtureRequest) -> str:
    """The browser's name in the table."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def python(name: str, place: str, server: Server) -> Iterator[PythonRuntime]:
    """Pyodide in the browser with the wheel installed."""
    with runtimes.browser(name.lower(), server.url + runtimes.harness_path(place)) as python:
        install_wheel(python, server)
        yield python


# With the scope of `python`, or pytest would load that anew for each backend.
@pytest.mark.parametrize(("name", "place", "backend"), CELLS, indirect=["name", "place"], scope="module")
def test_browser(
    name: str, place: str, backend: str, python: PythonRuntime, server: Server, for_pages: Servers, table: Table
) -> None:
    run_cell_in_pyodide(python, server, table, f"{name} {place}", backend, for_pages)
