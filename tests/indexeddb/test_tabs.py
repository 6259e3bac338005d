"""Real tabs and workers of Chromium: pages that are left, frozen and cleared, and notifications between them."""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from selenium.webdriver.support.wait import WebDriverWait

from tests.indexeddb.conftest import load_scenarios
from tests.lanes import runtimes
from tests.lanes.runtimes import WebDriverHarness
from tools.serve import Server

pytestmark = pytest.mark.browser


class Tab:
    """A tab of the one browser; each request brings it to the front."""

    def __init__(self, browser: WebDriverHarness, server: Server, place: str) -> None:
        self._browser = browser
        self._server = server
        self.driver: Any = browser.driver
        self.driver.switch_to.new_window("tab")
        self._window = self.driver.current_window_handle
        self.load(place)

    def load(self, place: str) -> None:
        self.driver.switch_to.window(self._window)
        self.driver.get(self._server.url + runtimes.harness_path(place))
        WebDriverWait(self.driver, 30).until(lambda page: page.execute_script("return 'runPython' in globalThis"))
        load_scenarios(self, self._server)
        self.run_async("context = await support.new_context()")

    def run_async(self, code: str) -> Any:
        self.driver.switch_to.window(self._window)
        return self._browser.run_async(code)

    def devtools(self, command: str, **parameters: Any) -> Any:
        self.driver.switch_to.window(self._window)
        return self._browser.devtools(command, **parameters)

    def go(self, url: str) -> None:
        self.driver.switch_to.window(self._window)
        self.driver.get(url)

    def back(self) -> None:
        self.driver.switch_to.window(self._window)
        self.driver.back()

    def dispatch(self, event: str) -> None:
        self.driver.switch_to.window(self._window)
        self.driver.execute_script(f"dispatchEvent(new Event('{event}'))")


@pytest.fixture(scope="module")
def tabs(server: Server) -> Iterator[tuple[Tab, Tab, Tab]]:
    """Two pages, and a page whose worker runs Python."""
    with runtimes.chromium(server.url + runtimes.harness_path("nowhere")) as browser:
        yield Tab(browser, server, "page"), Tab(browser, server, "page"), Tab(browser, server, "worker")


def _holding(tab: Tab, name: str, count: int = 2) -> None:
    """Let a tab hold messages of a mailbox that has no others."""
    tab.run_async(
        f"""
        mailbox = await context.open({name!r}, max_deliveries=1)
        for i in range({count}):
            await mailbox.enqueue(b"s", b"%d" % i)
        held = await mailbox.dequeue()
        assert len(held) == {count}
        """
    )


def _taken_over(tab: Tab, name: str) -> Any:
    """The delivery counts of the batch that another tab gets from it, and how many dead letters there are."""
    return tab.run_async(
        f"""
        other = await context.open({name!r})
        batch = await other.dequeue(wait=10)
        await other.ack_many([record.id for record in batch])
        dead = len(await other.dead_letters())
        await other.close()
        repr(([record.delivery_count for record in batch], dead))
        """
    )


def test_page_that_is_left_gives_back_what_it_holds(tabs: tuple[Tab, Tab, Tab]) -> None:
    page, other, _ = tabs
    _holding(page, "left for good")
    page.go("about:blank")
    assert _taken_over(other, "left for good") == "([1, 1], 0)"
    page.load("page")


def test_reload_is_no_death(tabs: tuple[Tab, Tab, Tab]) -> None:
    page, _, _ = tabs
    _holding(page, "reloaded")
    page.load("page")
    assert _taken_over(page, "reloaded") == "([1, 1], 0)"


def test_frozen_page_gives_back_what_it_holds_and_works_when_it_is_resumed(tabs: tuple[Tab, Tab, Tab]) -> None:
    page, other, _ = tabs
    _holding(page, "frozen")
    page.devtools("Page.setWebLifecycleState", state="frozen")
    assert _taken_over(other, "frozen") == "([1, 1], 0)"
    page.devtools("Page.setWebLifecycleState", state="active")
    page.run_async(
        """
        assert not await mailbox.nack(held[0].id)
        await mailbox.enqueue(b"s", b"after")
        (again,) = await mailbox.dequeue()
        assert again.payload == b"after"
        assert await mailbox.ack(again.id)
        await mailbox.close()
        """
    )


def test_page_that_comes_back_from_the_cache_works(tabs: tuple[Tab, Tab, Tab], server: Server) -> None:
    page, _, _ = tabs
    _holding(page, "in the cache")
    page.go(server.url + runtimes.harness_path("nowhere"))
    page.back()
    # it was not reloaded: its handle is still there
    page.run_async(
        """
        assert not await mailbox.nack(held[0].id)
        again = await mailbox.dequeue()
        assert [(record.id, record.delivery_count) for record in again] == [(record.id, 1) for record in held]
        assert await mailbox.ack_many([record.id for record in again]) == 2
        await mailbox.close()
        """
    )


@pytest.mark.parametrize("event", ["pagehide", "freeze"])
def test_page_makes_its_worker_give_back(tabs: tuple[Tab, Tab, Tab], event: str) -> None:
    """With the one line of JavaScript in docs/guarantees.md; the harness has it."""
    _, other, worker = tabs
    _holding(worker, f"worker, {event}")
    worker.dispatch(event)
    assert _taken_over(other, f"worker, {event}") == "([1, 1], 0)"
    worker.run_async("await mailbox.close()")


@pytest.mark.parametrize(("waiting", "sending"), [(0, 1), (0, 2), (2, 0)])
def test_enqueue_wakes_who_waits_elsewhere(tabs: tuple[Tab, Tab, Tab], waiting: int, sending: int) -> None:
    name = f"from {sending} to {waiting}"
    tabs[waiting].run_async(
        f"""
        import asyncio

        class Depths:
            seen = []
            def on_depth_change(self, queued_messages):
                self.seen.append(queued_messages)

        context = await support.new_context(support.NO_SLOW_POLL)
        mailbox, watched = await context.open({name!r}), await context.open("depth " + {name!r})
        Depths.seen.clear()
        watched.set_depth_observer(Depths())
        waiting = asyncio.ensure_future(mailbox.dequeue(wait=60))
        await asyncio.sleep(0.1)
        """
    )
    tabs[sending].run_async(
        f"""
        for place, payload in (({name!r}, b"hello"), ("depth " + {name!r}, b"1"), ("depth " + {name!r}, b"2")):
            async with await context.open(place) as mailbox:
                await mailbox.enqueue(b"s", payload)
        """
    )
    tabs[waiting].run_async(
        """
        (message,) = await asyncio.wait_for(waiting, support.PATIENCE)
        assert message.payload == b"hello"
        async def heard():
            return Depths.seen[-1:] == [2]
        await support.eventually(heard, f"the depth, {Depths.seen}")
        await mailbox.close()
        await watched.close()
        """
    )


def test_large_message_whose_file_is_away_for_a_while_stays(tabs: tuple[Tab, Tab, Tab]) -> None:
    """Chromium keeps a large value in a file beside the database; the rest works without it until it is back."""
    page, other, _ = tabs
    profile = Path(page.driver.capabilities["chrome"]["userDataDir"])
    before = set(profile.glob("**/*.indexeddb.blob/**/*"))
    # compressible data would not be large
    page.run_async(
        """
        from random import Random

        mailbox = await context.open("large")
        for i in range(3):
            await mailbox.enqueue(b"%d" % i, Random(i).randbytes(200_000))
        await mailbox.enqueue(b"small", b"")
        None
        """
    )
    files = [path for path in set(profile.glob("**/*.indexeddb.blob/**/*")) - before if path.is_file()]
    (file,) = [path for path in files if Random(1).randbytes(200_000)[1000:2000] in path.read_bytes()]
    away = file.rename(profile / "away")
    other.run_async(
        """
        from pymailbox import StorageUnavailableError, export

        elsewhere = await context.open("large")
        seen = await elsewhere.dequeue()
        assert [record.sender for record in seen] == [b"0", b"2", b"small"], seen
        assert await elsewhere.dequeue() == []
        assert await elsewhere.ack_many([record.id for record in seen]) == 3
        status = await elsewhere.status()
        assert (status.queued_messages, status.inflight_messages, status.dead_letters) == (1, 0, 0), status
        try:
            [line async for line in export(elsewhere)]
        except StorageUnavailableError as error:
            assert error.passing
        else:
            raise AssertionError("it was left out")
        """
    )
    away.rename(file)
    other.run_async(
        """
        (late,) = await elsewhere.dequeue(wait=60)
        assert (late.sender, len(late.payload), late.delivery_count) == (b"1", 200_000, 1), late
        await elsewhere.close()
        """
    )
    page.run_async("await mailbox.close()")


def test_site_data_cleared_while_it_is_open(tabs: tuple[Tab, Tab, Tab], server: Server) -> None:
    page, _, worker = tabs
    for tab in (page, worker):
        tab.run_async(
            """
            from pymailbox import StorageUnavailableError

            mailbox = await context.open("cleared")
            await mailbox.enqueue(b"s", b"lost")
            None
            """
        )
    page.devtools("Storage.clearDataForOrigin", origin=server.url, storageTypes="indexeddb")
    for tab in (page, worker):
        tab.run_async(
            """
            error = await support.raised(mailbox.enqueue(b"s", b"not stored"))
            assert isinstance(error, StorageUnavailableError), error
            assert "cleared" in str(error), error
            assert (await mailbox.status()).queued_messages == 0
            await mailbox.enqueue(b"s", b"new")
            assert [record.payload for record in await mailbox.dequeue()] == [b"new"]
            assert (await mailbox.storage_report()).wiped
            await mailbox.close()
            async with await context.open("cleared") as mailbox:
                assert await mailbox.purge() == 1
            """
        )
    # and across a reload, on a page
    page.go("about:blank")
    page.devtools("Storage.clearDataForOrigin", origin=server.url, storageTypes="indexeddb")
    page.load("page")
    page.run_async(
        """
        async with await context.open("cleared") as mailbox:
            assert (await mailbox.storage_report()).wiped
        async with await context.open("cleared") as mailbox:
            assert not (await mailbox.storage_report()).wiped
        """
    )
