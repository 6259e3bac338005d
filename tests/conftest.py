"""What all tests share: the server of the built wheel and of Pyodide, NATS servers, and the browsers' settings."""

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_pyodide
from pytest_pyodide import get_global_config
from pytest_pyodide.runner import SeleniumChromeRunner

from tools import browsers
from tools.nats_servers import Servers
from tools.serve import DEMO_ROUTES, HOST, LASTING, ROOT, Server

_FEW_SEEDS = 2

PYTEST_PYODIDE_PAGES = Path(pytest_pyodide.__file__).parent / "_templates"
TEST_ROUTES = DEMO_ROUTES | {
    "/tests/": ROOT / "tests",
    # pytest-pyodide's own pages, which load Pyodide from beside them.
    "/": ROOT / "build" / "pyodide",
    "/module_test.html": PYTEST_PYODIDE_PAGES / "module_test.html",
    "/module_webworker_runner.js": PYTEST_PYODIDE_PAGES / "module_webworker_runner.js",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """How much to run, and where the lanes keep their table."""
    parser.addoption("--few-programs", action="store_true", help="run few random programs")
    parser.addoption("--table", type=Path, help="a folder that keeps the table, and may already have parts of it")


def pytest_configure() -> None:
    """Tell pytest-pyodide how to start Chromium."""
    browsers.keep_selenium_offline()
    get_global_config().set_flags("chrome", browsers.chromium_flags())
    # seconds for Python to load, on a slow and busy machine
    SeleniumChromeRunner.script_timeout = 300


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `--few-programs`, tests that are repeated with one `seed` after the other have only the first two."""
    if config.getoption("--few-programs"):
        left_out = {item for item in items if _seed_of(item) >= _FEW_SEEDS}
        if left_out:
            config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]


def _seed_of(test: pytest.Item) -> Any:
    return test.callspec.params.get("seed", 0) if hasattr(test, "callspec") else 0


def serve(csp: str | None = None, routes: Mapping[str, Path] = TEST_ROUTES) -> Iterator[Server]:
    """Serve the routes in the background; the body of a fixture."""
    with Server(0, routes, csp) as server:
        server.lasting = LASTING
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server of the checkout: the wheel, Pyodide, and the tests' pages."""
    yield from serve()


@pytest.fixture(scope="session")
def web_server_main(server: Server) -> tuple[str, int, None]:
    """Where pytest-pyodide finds its pages, in place of its own server: host, port, log file."""
    return HOST, server.server_port, None


@pytest.fixture(scope="session")
def one() -> Iterator[Servers]:
    """One NATS server."""
    with Servers(1) as servers:
        yield servers


@pytest.fixture(scope="session")
def for_pages(server: Server) -> Iterator[Servers]:
    """One NATS server, to which the pages of `server` may connect."""
    with Servers(1, origins=[server.url]) as servers:
        yield servers


@pytest.fixture(scope="session")
def three() -> Iterator[Servers]:
    """A cluster of three NATS servers."""
    with Servers(3) as servers:
        yield servers
