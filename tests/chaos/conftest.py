"""What was measured of the kills, and where a browser stood still, is shown after the run, but not judged."""

from collections.abc import Iterator

import pytest

from tests.chaos.in_chromium import ChromiumStage
from tests.chaos.recorder import JournalServer
from tests.chaos.rounds import stood_still

REDELIVERIES = pytest.StashKey[dict[str, float | None]]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin with nothing measured."""
    config.stash[REDELIVERIES] = {}


@pytest.fixture(scope="session")
def redeliveries(pytestconfig: pytest.Config) -> dict[str, float | None]:
    """Seconds from kills to redeliveries, by what was killed; None if nothing was held."""
    return pytestconfig.stash[REDELIVERIES]


@pytest.fixture(scope="module")
def server() -> Iterator[JournalServer]:
    """Serves the pages, and takes their reports."""
    server = JournalServer()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def stage() -> Iterator[ChromiumStage]:
    """A browser for all that needs nothing else of it, since each loads Python for its onlooker."""
    with ChromiumStage() as stage:
        yield stage


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show them."""
    redeliveries = config.stash[REDELIVERIES]
    if redeliveries:
        terminalreporter.section("from a kill to the redelivery of what was held")
        for what, seconds in redeliveries.items():
            measured = "nothing held" if seconds is None else f"{seconds * 1000:5.0f} ms"
            terminalreporter.write_line(f"{measured:12}  {what}")
    if stood_still:
        terminalreporter.section("played again, since the browser stood still")
        for what in stood_still:
            terminalreporter.write_line(what)
