"""Workers that are ended amid their calls, many times: the page beside them goes on, and no message is lost."""

import pytest

from tests.chaos.recorder import JournalServer
from tests.lanes import runtimes

pytestmark = pytest.mark.browser

ROUNDS = 30


@pytest.mark.parametrize("name", ["chromium", "firefox", "webkit"])
def test_workers_that_are_ended(name: str, server: JournalServer) -> None:
    with runtimes.browser(name, f"{server.url}/tests/chaos/ended-worker.html") as page:
        assert page.run_async(str(ROUNDS)) == 0
