"""The lanes fill in one table, which the terminal shows after the run."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lanes import runtimes
from tests.lanes.in_pyodide import install_wheel
from tests.lanes.runtimes import PythonRuntime
from tests.lanes.table import FEW_PROGRAMS, PROGRAMS, Table
from tools.serve import Server

TABLE = pytest.StashKey[Table]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin with an empty table, or with what earlier runs have entered."""
    table = config.stash[TABLE] = Table(FEW_PROGRAMS if config.getoption("--few-programs") else PROGRAMS)
    kept: Path | None = config.getoption("--table")
    if kept is not None:
        for part in sorted(kept.glob("*.json")):
            table.load(part.read_text())


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Look at the table when it is full."""
    items.sort(key=lambda item: item.path.stem == "test_table")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show the table, and keep it."""
    table = config.stash[TABLE]
    kept: Path | None = config.getoption("--table")
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        # runs at the same time do not know of each other's cells; of one that was run twice the later outcome counts
        part = kept / f"{time.time_ns()}.part"
        part.write_text(table.dump())
        part.rename(part.with_suffix(".json"))
    if table.cells:
        terminalreporter.section("checks passed of all + random programs passed of all")
        for line in table.lines():
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def table(pytestconfig: pytest.Config) -> Table:
    """The table of this run."""
    return pytestconfig.stash[TABLE]


@pytest.fixture(scope="session")
def node(server: Server) -> Iterator[PythonRuntime]:
    """Pyodide in Node with the wheel installed. It has no JavaScript Promise Integration."""
    with runtimes.node() as python:
        install_wheel(python, server)
        yield python


@pytest.fixture(scope="module", params=["page", "worker"])
def place(request: pytest.FixtureRequest) -> str:
    """Where Python runs."""
    place: str = request.param
    return place
