"""Pauses and time limits on an event loop that is as strict about time as Pyodide's."""

from __future__ import annotations

import asyncio
import contextvars
import signal
import threading
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from pymailbox import Context, ask, open_mailbox, relay
from pymailbox.actors.stopping import Stop


class StrictLoop(asyncio.SelectorEventLoop):
    """Refuses to schedule a call in the past; time passes with each look at the clock."""

    _looks = 0

    def time(self) -> float:
        self._looks += 1
        return super().time() + self._looks * 0.0001

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        if delay < 0:
            raise ValueError("Can't schedule in the past")
        return super().call_at(super().time() + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_later(when - self.time(), callback, *args, context=context)


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 1e-9, 0.00005, 0.00015, 0.00025, 0.0005])
def test_pause_however_short_ends(seconds: float) -> None:
    with asyncio.Runner(loop_factory=StrictLoop) as runner:
        for _ in range(20):
            runner.run(Stop().pause(seconds))


def test_others_have_their_turn_in_pauses_of_no_length() -> None:
    async def pause_until_another_task_has_run() -> None:
        stop = Stop()
        other = asyncio.ensure_future(asyncio.sleep(0))
        for _ in range(10):
            await stop.pause(0.0)
        assert other.done()

    asyncio.run(pause_until_another_task_has_run())


def test_pause_ends_when_a_stop_is_asked_for() -> None:
    async def stop_in_a_pause() -> None:
        stop = Stop()
        asyncio.get_running_loop().call_soon(stop.ask)
        async with asyncio.timeout(60):
            await stop.pause(3600.0)

    asyncio.run(stop_in_a_pause())


@pytest.mark.parametrize("seconds", [1e-9, 0.00005, 0.00015, 0.00025])
def test_question_may_have_next_to_no_time(seconds: float) -> None:
    async def ask_nobody() -> None:
        async with open_mailbox("memory://") as mailbox:
            with pytest.raises(TimeoutError, match="no answer came from"):
                await ask(mailbox, b"", timeout=seconds)

    with asyncio.Runner(loop_factory=StrictLoop) as runner:
        runner.run(ask_nobody())


@pytest.mark.parametrize("what", ["consumer", "relay"])
@pytest.mark.parametrize("where", ["thread", "signal handler"])
async def test_stop_is_heard_from_anywhere(what: str, where: str) -> None:
    """Nothing else wakes the event loop, which sleeps until the stop."""
    async with open_mailbox("memory://") as mailbox, open_mailbox("memory://") as target:
        running: Any = mailbox.consume(print) if what == "consumer" else relay(mailbox, target)
        if where == "thread":
            timer = threading.Timer(0.05, running.stop)
            timer.start()
        elif hasattr(signal, "setitimer"):
            before = signal.signal(signal.SIGALRM, lambda *_: running.stop())
            signal.setitimer(signal.ITIMER_REAL, 0.05)
        else:
            pytest.skip("there is no timer with a signal here")
        try:
            async with asyncio.timeout(30):
                await running
        finally:
            if where != "thread":
                signal.signal(signal.SIGALRM, before)
        assert running.stopping
        running.stop()  # its end changes nothing


async def test_handler_that_blocks_the_event_loop_sees_a_stop() -> None:
    """As its context advises one that takes long."""

    async def work_on(_: object, context: Context) -> None:
        stopper = threading.Thread(target=consumer.stop)
        stopper.start()
        stopper.join()
        assert context.stopping

    async with open_mailbox("memory://") as mailbox:
        await mailbox.enqueue(b"", b"")
        consumer = mailbox.consume(work_on)
        async with asyncio.timeout(30):
            await consumer
        assert (await mailbox.status()).queued_messages == 0


def wake(loop: asyncio.AbstractEventLoop) -> None:
    loop.call_soon(print)


def test_stop_after_the_event_loop_is_closed_changes_nothing() -> None:
    stop = Stop()

    async def begin() -> None:
        stop.begin()

    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        runner.run(begin())
    stop.reach(partial(wake, loop))
    assert stop.asked


def test_stop_is_heard_where_no_event_loop_runs() -> None:
    with asyncio.Runner() as runner:

        async def begin() -> tuple[Any, asyncio.Future[None]]:
            consumer = (await open_mailbox(f"memory://{uuid4()}")).consume(print)
            return consumer, asyncio.ensure_future(consumer)

        async def end() -> None:
            async with asyncio.timeout(30):
                await ending

        consumer, ending = runner.run(begin())
        consumer.stop()
        assert consumer.stopping
        runner.run(end())
        runner.run(consumer._mailbox.close())
