"""Calls that never wait give the event loop a turn: in memory, and on SQLite without a thread."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from uuid import uuid4

import pytest

from pymailbox import Mailbox, NewMessage, delete_mailbox, list_mailboxes, open_mailbox
from pymailbox.backends.sqlite import database
from pymailbox.runtime import turns
from pymailbox.testing import factory_at, run_checks
from pymailbox.testing._expect import eventually
from pymailbox.transfer import export, import_

MANY = 200_000


@pytest.fixture(params=["memory", "sqlite"])
def location(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """SQLite as in Pyodide, where no thread can start."""
    monkeypatch.setattr(database, "IN_PYODIDE", True)
    return f"memory://{uuid4()}" if request.param == "memory" else f"sqlite:///{tmp_path}/a.db#"


@pytest.fixture
async def mailbox(location: str) -> AsyncIterator[Mailbox]:
    async with await factory_at(location)("inbox", batch_size=MANY) as opened:
        yield opened


@pytest.fixture
def due(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call gives the event loop a turn."""
    monkeypatch.setattr(turns, "TURN", 0.0)


def others_run() -> list[bool]:
    """Becomes true with the next turn of the event loop."""
    ran: list[bool] = []
    asyncio.get_running_loop().call_soon(ran.append, True)
    return ran


async def test_verbs_keep_what_the_suite_asks_for(location: str) -> None:
    names = [
        "concurrency.verbs_let_other_tasks_run",
        "concurrency.timeout_ends_a_loop_of_verbs",
        "release.cancelled_loop_of_dequeues_strands_nothing",
    ]
    results = await run_checks(factory_at(location), only=names)
    assert [(result.name, result.outcome) for result in results] == [(name, "passed") for name in names]


async def test_the_first_turn_comes_soon(mailbox: Mailbox) -> None:
    """Without other tasks a call suspends no more often than the loop needs its turn."""
    suspended = 0
    await mailbox.status()
    for _ in range(100):
        ran = others_run()
        await mailbox.status()
        suspended += bool(ran)
    assert suspended < 50


@pytest.mark.parametrize("hidden", [None, False, True])
async def test_in_a_browser_a_turn_lasts_until_a_timer_has_fired_now_and_then(
    hidden: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``None`` stands for a worker, which has no document."""
    js = ModuleType("js")
    if hidden is not None:
        js.document = SimpleNamespace(hidden=hidden)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "js", js)
    monkeypatch.setattr(turns, "IN_PYODIDE", True)
    monkeypatch.setattr(turns, "_thread", turns._Thread())
    slept: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", noted)
    monkeypatch.setattr(turns, "PAUSE_INTERVAL", 3600.0)
    await turns.take_turn()
    await turns.take_turn()
    assert slept == ([0, 0, 0, 0] if hidden else [turns.PAUSE, 0, 0, 0])
    slept.clear()
    monkeypatch.setattr(turns._thread, "next_pause", 0.0)
    await turns.take_turn()
    assert slept == ([0, 0] if hidden else [turns.PAUSE, 0])
    assert turns.PAUSE > 0.002


@pytest.mark.usefixtures("due")
async def test_calls_keep_their_order_and_observers_hear_it(mailbox: Mailbox) -> None:
    class Depths(list[int]):
        def on_depth_change(self, queued_messages: int) -> None:
            self.append(queued_messages)

    depths = Depths()
    mailbox.set_depth_observer(depths)
    payloads = [b"%d" % number for number in range(100)]
    await asyncio.gather(*(mailbox.enqueue(b"", payload) for payload in payloads))
    assert [record.payload for record in await mailbox.dequeue()] == payloads
    assert depths == list(range(1, 101))


@pytest.mark.usefixtures("due")
async def test_cancelled_calls_were_made(mailbox: Mailbox) -> None:
    call = asyncio.ensure_future(mailbox.enqueue(b"", b"stored"))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert [(record.payload, record.delivery_count) for record in await mailbox.peek()] == [(b"stored", 0)]
    claiming = asyncio.ensure_future(mailbox.dequeue())
    await asyncio.sleep(0)
    claiming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await claiming
    assert [(record.payload, record.delivery_count) for record in await mailbox.peek()] == [(b"stored", 0)]


@pytest.mark.usefixtures("due")
async def test_a_loop_whose_mailbox_is_closed_meanwhile_just_ends(location: str) -> None:
    mailbox = await factory_at(location)("closing")
    other = await factory_at(location)("closing")
    await mailbox.enqueue(b"", b"payload")
    assert await asyncio.gather(anext(mailbox.messages(), None), mailbox.close()) == [None, None]
    assert [record.delivery_count for record in await other.dequeue()] == [1]
    await other.close()


@pytest.mark.usefixtures("due")
async def test_a_loop_that_is_cancelled_between_two_records_gives_them_back(mailbox: Mailbox) -> None:
    await mailbox.enqueue_many([NewMessage(b"", b"%d" % number) for number in range(5)])
    seen: list[bytes] = []
    two_seen = asyncio.Event()

    async def consume() -> None:
        async for record in mailbox.messages():
            seen.append(record.payload)
            if len(seen) == 2:
                two_seen.set()

    task = asyncio.ensure_future(consume())
    await two_seen.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    del task  # its exception refers to the loop

    async def inflight() -> int:
        return (await mailbox.status()).inflight_messages

    assert len(seen) < 5
    await eventually(inflight, len(seen), "inflight messages")


@pytest.mark.usefixtures("due")
async def test_iterators_let_others_run(mailbox: Mailbox) -> None:
    await mailbox.enqueue_many([NewMessage(b"", b"")] * 3)
    lines: list[bytes] = []
    ran = others_run()
    async for line in export(mailbox):
        if len(lines) in (1, 2, 3):
            assert ran
            ran = others_run()
        lines.append(line)
    await mailbox.purge()
    ran = others_run()
    await import_(mailbox, lines[0] + b"no message\n" * 3)
    assert ran
    await import_(mailbox, lines)
    turns_between = []
    async for _ in mailbox.messages():
        turns_between.append(bool(ran))
        ran = others_run()
        if len(turns_between) == 3:
            break
    assert turns_between == [True] * 3


@pytest.mark.usefixtures("due")
async def test_opening_and_looking_for_mailboxes_lets_others_run(location: str) -> None:
    for call in (open_mailbox, list_mailboxes, delete_mailbox):
        ran = others_run()
        made = await call(f"{location}-one")
        assert ran, call.__name__
        if isinstance(made, Mailbox):
            await made.close()
