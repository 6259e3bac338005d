"""The browsers that the scenarios run in, each with one loaded Pyodide for all of them."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests import coverage_of_pages
from tests.lanes import runtimes
from tests.lanes.in_pyodide import install_wheel
from tests.lanes.runtimes import PythonRuntime
from tools.build_wheel import page_wheel_name
from tools.serve import ROOT, Server

FOLDER = Path(__file__).parent
SCENARIOS = FOLDER / "scenarios"


def load_scenarios(python: PythonRuntime, server: Server) -> None:
    """Install the wheel for pages and put the scenarios beside it."""
    install_wheel(python, server, page_wheel_name())
    files = [*FOLDER.glob("scenarios/*.py"), *FOLDER.glob("data/*.json")]
    python.run_async(
        f"""
        import importlib
        from pathlib import Path
        from pyodide.http import pyfetch

        for name in {[str(file.relative_to(ROOT)) for file in files]!r}:
            response = await pyfetch(f"{server.url}/{{name}}")
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text(await response.string(), "utf-8")
        importlib.invalidate_caches()
        from tests.indexeddb.scenarios import support
        """
    )


class Places:
    """Opens Pyodide in one place at a time, and keeps it as long as that place is requested."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._place = ""
        self._open = ExitStack()
        self._python: PythonRuntime

    def python_in(self, place: str) -> PythonRuntime:
        """Pyodide with the scenarios loaded, in "BROWSER page" or "BROWSER worker"."""
        if place != self._place:
            self.close()
            browser, where = place.split()
            # handed over, the engine's modules have addresses
            is_measured = coverage_of_pages.is_measured(place)
            url = self._server.url + runtimes.harness_path(where, engine=is_measured)
            page = self._open.enter_context(runtimes.browser(browser, url))
            if is_measured:
                coverage_of_pages.begin(page, url, lambda: install_wheel(page, self._server, page_wheel_name()))
                self._open.callback(coverage_of_pages.end, page)
            self._python = page
            load_scenarios(self._python, self._server)
            self._place = place
        return self._python

    def close(self) -> None:
        self._place = ""
        self._open.close()


@pytest.fixture(scope="session")
def places(server: Server) -> Iterator[Places]:
    """Not `python` itself: pytest sets up a fixture anew for each pair of values that a test names."""
    places = Places(server)
    yield places
    places.close()


@pytest.fixture
def python(request: pytest.FixtureRequest, places: Places) -> PythonRuntime:
    """Pyodide in one of the places, which the test names, with the scenarios loaded."""
    return places.python_in(request.param)
