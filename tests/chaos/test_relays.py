"""Relays from a page to a NATS server and back, both at once, through three outages of hours, while tabs, a worker and
the server are killed: each message arrives once, and in its order.

Tabs and workers have a clock that is put forward, `tests/browser/clock.mjs`. On CPython, processes on a SQLite file
play the same, and their outages are short. The environment variable PYMAILBOX_RELAYED has another number than 10,000.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import pytest

from pymailbox import RelayStatus
from tests.chaos import actor
from tests.chaos.in_chromium import prepare
from tests.chaos.in_processes import ProcessStage, act
from tests.chaos.judge import judge, overtaken
from tests.chaos.recorder import AUDITOR, JournalServer, Recorder
from tests.lanes import runtimes
from tests.lanes.in_pyodide import install_nats
from tests.lanes.runtimes import HarnessTab, harness_path
from tools.nats_servers import Servers

MESSAGES = int(os.environ.get("PYMAILBOX_RELAYED", "10000")) // 2
"""In each direction."""

PARTS = 5
PART = MESSAGES // PARTS

PAUSE = 0.05
"""Seconds between a sender's batches, so that it is still at work when something is killed."""

LEASE = 2.0
"""Seconds after which somebody else has on the server what a dead relay had."""

SECONDS = 180.0
HOUR = 3600.0

Works = Mapping[str, dict[str, Any]]


class Here(Protocol):
    """Where messages wait while there is no server: it has *lives*, in which actors work, one after the other or beside
    each other.
    """

    def location(self, name: str) -> str:
        """Of a mailbox here."""

    def begin(self, life: str, place: str) -> None:
        """Begin a life, in a "page" or a "worker" where there are any."""

    def work(self, life: str, works: Works) -> None:
        """Start actors there, by their names."""

    def end(self, life: str, about_to: Callable[[bool], None]) -> None:
        """End it, after `about_to`, which is given whether it is told."""

    def pass_time(self, life: str, seconds: float) -> None:
        """Put its clock forward, if it has one."""

    def statuses(self, life: str) -> list[RelayStatus]:
        """How its relays are, if it can tell."""

    def claimed(self, life: str) -> int:
        """How many messages are claimed of those that wait here, if it can tell."""


class Browser:
    """Tabs, each with Python in its page or in a worker, and all with the same IndexedDB."""

    def __init__(self, tab: HarnessTab, server: JournalServer, path: str) -> None:
        self._tab = tab
        self._server = server
        self._path = path
        self._lives: dict[str, tuple[HarnessTab, str]] = {}
        self._ahead = 0.0
        """Seconds by which all clocks here are."""

    def location(self, name: str) -> str:
        """In IndexedDB."""
        return f"indexeddb://{name}"

    def begin(self, life: str, place: str) -> None:
        """A tab of its own."""
        tab = self._tab.open_tab(self._server.url + harness_path(place, clock=self._ahead))
        prepare(tab, self._server)
        install_nats(tab)
        self._lives[life] = tab, place

    def work(self, life: str, works: Works) -> None:
        """In its Python."""
        tab, _ = self._lives[life]
        for who, plan in works.items():
            tab.run_async(f"actor.start({who!r}, {plan!r}, actor.page_post({self._server.url + self._path!r})); None")

    def end(self, life: str, about_to: Callable[[bool], None]) -> None:
        """Close a tab; or end a worker, which is told nothing."""
        tab, place = self._lives.pop(life)
        about_to(place == "page")
        if place == "worker":
            tab.end_worker()
        tab.close_tab()

    def pass_time(self, life: str, seconds: float) -> None:
        """In steps of ten minutes or less, each of which lets things happen."""
        self._ahead += seconds
        tab, _ = self._lives[life]
        tab.run_async(
            f"""
            import asyncio, js

            left = {seconds}
            while left > 0:
                js.putForward(1000 * min(left, 600))
                left -= 600
                await asyncio.sleep(0.02)
            """
        )

    def statuses(self, life: str) -> list[RelayStatus]:
        """Of its Python."""
        tab, _ = self._lives[life]
        return [RelayStatus.from_dict(one) for one in json.loads(tab.run_async("await actor.statuses()"))]

    def claimed(self, life: str) -> int:
        """As its Python sees it."""
        tab, _ = self._lives[life]
        return int(tab.run_async("await actor.claimed()"))


class Processes:
    """A process for each life, all on the same SQLite file."""

    def __init__(self, stage: ProcessStage, path: str, folder: Path) -> None:
        self._stage = stage
        self._path = path
        self._folder = folder
        self._lives: dict[str, list[BaseProcess]] = {}

    def location(self, name: str) -> str:
        """In the file."""
        return f"sqlite:///{quote(str(self._folder / 'here.db'))}#{name}"

    def begin(self, life: str, place: str) -> None:
        """Its process begins with its work."""
        self._lives[life] = []

    def work(self, life: str, works: Works) -> None:
        """In a process of their own."""
        process = self._stage.context.Process(target=act, args=(works, self._stage.server.server_port, self._path))
        process.start()
        self._lives[life].append(process)

    def end(self, life: str, about_to: Callable[[bool], None]) -> None:
        """SIGKILL."""
        about_to(False)
        for process in self._lives.pop(life):
            process.kill()
            process.join()
            process.close()

    def pass_time(self, life: str, seconds: float) -> None:
        """Their clock is the machine's: a quarter of a second for an hour."""
        time.sleep(seconds / HOUR / 4)

    def statuses(self, life: str) -> list[RelayStatus]:
        """Nobody asks a process."""
        return []

    def claimed(self, life: str) -> int:
        """Nor that."""
        return 0

    def close(self) -> None:
        """End what is left."""
        for life in list(self._lives):
            self.end(life, lambda told: None)


class There:
    """The server's side: somebody who takes what comes up, and somebody who sends what goes down."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._tasks: list[asyncio.Task[None]] = []

    def __enter__(self) -> There:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def work(self, works: Works) -> None:
        """Start actors."""
        self._do(self._work(works))

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(SECONDS)

    async def _work(self, works: Works) -> None:
        async def post(body: str) -> str:
            return self._recorder.receive(body)

        self._tasks += [actor.start(who, plan, post) for who, plan in works.items()]

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)


class Play:
    """The whole of it."""

    def __init__(
        self, here: Here, there: There, recorder: Recorder, servers: Servers, *, stream: str, pages: bool
    ) -> None:
        self._here = here
        self._there = there
        self._recorder = recorder
        self._servers = servers
        self._up, self._down = (servers.location(name, stream) for name in ("up", "down"))
        websocket = f"ws://{servers.websockets}/{{}}?stream={stream}"
        self._ends = {
            "out": here.location("out"),
            "in": here.location("in"),
            "up": websocket.format("up") if pages else self._up,
            "down": websocket.format("down") if pages else self._down,
        }
        self._living: list[str] = []
        self._parts = 0

    def run(self) -> None:
        """Three lives, three outages; amid each something else ends."""
        self._there.work({"clerk": {"work": "consumes", "box": self._up}})
        self._begin("tab", "page")
        self._work("tab", consumes=True)
        self._wait_until_arrived(PART * 3 // 10)
        self._lose_the_server("tab", hours=3)
        self._end("tab")

        self._begin("worker", "worker")
        self._work("worker", consumes=True)
        self._lose_the_server("worker", hours=1)
        self._servers.start()
        self._wait_until_arrived(PART * 13 // 10)

        self._begin("other tab", "page")
        self._wait_until(self._is_one_at_work, "of two tabs one relays")
        self._work("other tab", consumes=False)
        self._wait_until_arrived(PART * 23 // 10)
        self._servers.servers[0].kill()
        for life in self._living:
            self._here.pass_time(life, 5 * HOUR)
        self._servers.start()
        self._work("worker", consumes=False)
        self._wait_until_arrived(PART * 33 // 10)

        self._end("worker")
        self._servers.servers[0].kill()  # before anybody has heard of the end
        self._work("other tab", consumes=True)
        self._here.pass_time("other tab", HOUR)
        self._servers.start()
        self._wait_until(self._is_all_there, "all messages have arrived")
        self._audit()
        self._end("other tab")

    def _begin(self, life: str, place: str) -> None:
        """A life with relays."""
        relays = f"{life} relays"
        self._here.begin(life, place)
        self._here.work(life, {relays: {"work": "relays", "lease": LEASE, **self._ends}})
        self._recorder.wait_for(lambda: self._recorder.has_said(relays, "ready"), f"{life} is not ready", SECONDS)
        self._living.append(life)

    def _work(self, life: str, *, consumes: bool) -> None:
        """A part of all messages is sent from there and from the server; the last one is what is missing."""
        self._parts += 1
        up, down = (
            PART if self._parts < PARTS else MESSAGES - self._count("sent", box) for box in (self._up, self._ends["in"])
        )
        pause = {"work": "sends", "pause": PAUSE}
        works = {f"{life} {self._parts}": {"box": self._ends["out"], "arrives": self._up, "count": up, **pause}}
        if consumes:
            works[f"{life} consumes"] = {"work": "consumes", "box": self._ends["in"]}
        self._here.work(life, works)
        office = {"box": self._down, "arrives": self._ends["in"], "count": down, **pause}
        self._there.work({f"office {self._parts}": office})

    def _end(self, life: str) -> None:
        def note(told: bool) -> None:
            self._recorder.note(f"{life} consumes", "killed", told=told)

        self._living.remove(life)
        self._here.end(life, note)

    def _lose_the_server(self, life: str, *, hours: int) -> None:
        """It is not there for hours, in which more is sent; who relays says so, and claims nothing."""
        self._servers.servers[0].kill()
        more = {"work": "sends", "box": self._ends["out"], "arrives": self._up, "count": 100, "pause": 0.0}
        self._here.work(life, {f"{life} offline": more})
        self._here.pass_time(life, hours * HOUR)
        self._wait_until(
            lambda: self._knows_that_it_is_offline(life, hours),
            f"{life} says that it is offline",
            lambda: self._here.pass_time(life, HOUR / 6),
        )
        assert self._here.claimed(life) == 0

    def _knows_that_it_is_offline(self, life: str, hours: int) -> bool:
        """Most of the time, and it is still trying; if all that comes down came before, nothing is tried there."""
        statuses = self._here.statuses(life)  # of the one that goes up, and of the other; or of none
        for status in [one for i, one in enumerate(statuses) if i == 0 or one.sent < PART]:
            since, last = status.disconnected_since, status.last_error_at
            if since is None or last is None or last - since < timedelta(hours=hours) / 2:
                return False
        return True

    def _is_one_at_work(self) -> bool:
        statuses = [self._here.statuses(life) for life in self._living]
        return all(sum(one.active for one in both) == 1 for both in zip(*statuses, strict=True))

    def _count(self, what: str, *boxes: str) -> int:
        history = list(self._recorder.history)
        return sum(len(event.keys) for event in history if event.what == what and event.box in boxes)

    def _wait_until_arrived(self, count: int) -> None:
        arrives = [self._up, self._ends["in"]]
        self._wait_until(
            lambda: all(self._count("removed", box) >= count for box in arrives), f"{count} messages have arrived"
        )

    def _is_all_there(self) -> bool:
        """Where somebody was killed amid acknowledging, what was done is not known."""
        history = list(self._recorder.history)
        begun = {(event.box, key) for event in history if event.what == "removing" for key in event.keys}
        sent = {(event.box, key) for event in history if event.what == "sent" for key in event.keys}
        return all(self._count("sent", box) >= MESSAGES for box in (self._up, self._ends["in"])) and sent <= begun

    def _audit(self) -> None:
        self._there.work({"auditor there": {"work": "audits", "box": self._up, "target": self._down}})
        self._here.work("other tab", {AUDITOR: {"box": self._ends["in"], "target": self._ends["out"]}})
        auditors = (AUDITOR, "auditor there")
        self._wait_until(lambda: all(self._recorder.has_said(who, "done") for who in auditors), "all is audited")

    def _wait_until(self, reached: Callable[[], bool], what: str, meanwhile: Callable[[], None] = lambda: None) -> None:
        until = time.monotonic() + SECONDS
        while not reached():
            failures = [event.text for event in self._recorder.history if event.what == "failed"]
            if failures or time.monotonic() > until:
                says = {life: self._here.statuses(life) for life in self._living}
                pytest.fail("\n".join((f"not so after {SECONDS} s: {what}", *failures, str(says))), pytrace=False)
            meanwhile()
            time.sleep(0.05)


def check(recorder: Recorder) -> None:
    """The judge counts."""
    history = list(recorder.history)
    assert judge(history) + overtaken(history) == []
    audits = [event for event in history if event.what == "audited"]
    assert [event.entries for event in audits] == [[]] * 4


@pytest.fixture(scope="module")
def servers(server: JournalServer) -> Iterator[Servers]:
    """The NATS server that is killed."""
    with Servers(1, origins=[server.url]) as servers:
        yield servers


def browser(name: str, url: str) -> AbstractContextManager[HarnessTab]:
    if name == "firefox":  # it lets a WebSocket that failed wait, in the end for a minute, before the next one
        return runtimes.playwright_browser(name, url, {"network.websocket.delay-failed-reconnects": False})
    return runtimes.browser(name, url)


@pytest.mark.browser
@pytest.mark.parametrize("name", ["chromium", "firefox"])
def test_pages_that_are_offline_for_hours(name: str, server: JournalServer, servers: Servers) -> None:
    recorder, path = server.next_round(f"relays-{name}")
    with browser(name, server.url + harness_path("nowhere")) as tab, There(recorder) as there:
        Play(Browser(tab, server, path), there, recorder, servers, stream=name, pages=True).run()
    check(recorder)


@pytest.mark.slow
def test_processes_that_are_killed(servers: Servers, tmp_path: Path) -> None:
    with ProcessStage() as stage:
        recorder, path = stage.server.next_round("relays")
        with There(recorder) as there, closing(Processes(stage, path, tmp_path)) as here:
            Play(here, there, recorder, servers, stream="processes", pages=False).run()
    check(recorder)
