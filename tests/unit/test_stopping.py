"""Pauses and time limits on an event loop that is as strict about time as Pyodide's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any

import pytest

from pymailbox import ask, open_mailbox
from pymailbox.actors.stopping import Stop


class StrictLoop(asyncio.SelectorEventLoop):
    """Refuses to schedule a call in the past; time passes with each look at the clock."""

    _looks = 0

    def time(self) -> float:
        self._looks += 1
        return super().time() + self._looks * 0.0001

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        if delay < 0:
            raise ValueError("Can't schedule in the past")
        return super().call_at(super().time() + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
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
