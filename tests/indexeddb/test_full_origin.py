"""A full origin: Chromium with its quota set over the DevTools protocol, Firefox by a preference."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.indexeddb.conftest import load_scenarios
from tests.lanes import runtimes
from tests.lanes.runtimes import PythonRuntime
from tools.serve import Server

pytestmark = pytest.mark.browser

QUOTA_MIB = 24


@contextmanager
def _small_chromium(server: Server) -> Iterator[PythonRuntime]:
    with runtimes.chromium(server.url + runtimes.harness_path("page")) as python:
        python.devtools("Storage.overrideQuotaForOrigin", origin=server.url, quotaSize=QUOTA_MIB << 20)
        load_scenarios(python, server)
        yield python


@pytest.fixture(params=["chromium page", "firefox page"])
def small_origin(request: pytest.FixtureRequest, server: Server) -> Iterator[PythonRuntime]:
    """A browser whose origins may store little."""
    browser, place = request.param.split()
    url = server.url + runtimes.harness_path(place)
    if browser == "chromium":
        with _small_chromium(server) as python:
            yield python
    else:
        preferences = {"dom.quotaManager.temporaryStorage.fixedLimit": QUOTA_MIB << 10}
        with runtimes.playwright_browser("firefox", url, preferences) as python:
            load_scenarios(python, server)
            yield python


def test_full_origin(small_origin: PythonRuntime) -> None:
    small_origin.run_async("from tests.indexeddb.scenarios.full import Full; full = Full()")
    for time in ("first", "second"):
        small_origin.run_async(f"await full.prepare('the {time} time'); await full.fill()")
        for step in (
            "nothing_new_is_stored",
            "what_little_becomes_a_dead_letter_does",
            "the_rest_goes_on",
            "it_goes_on_when_the_reserve_is_used_up",
            "calls_that_share_the_failed_commit_fail_alone",
        ):
            small_origin.run_async(f"await full.{step}()")
        small_origin.run_async("await full.make_room()")
        small_origin.run_async("await full.with_room_it_works_again()")


def test_full_origin_without_room_for_a_dead_letter(server: Server) -> None:
    """Only in Chromium: Firefox allows a site less, so that none is left to fill."""
    with _small_chromium(server) as python:
        python.run_async("from tests.indexeddb.scenarios.full import Full")
        python.run_async("await Full().what_has_no_room_as_a_dead_letter_is_queued_instead()")
