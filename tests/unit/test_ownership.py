"""A handle belongs to a thread, an event loop and a process, even if its loop continues in others."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from pymailbox import Mailbox, WrongThreadError, open_mailbox

VERBS = {
    "enqueue": lambda mailbox: mailbox.enqueue(b"me", b"x"),
    "enqueue_many": lambda mailbox: mailbox.enqueue_many([]),
    "dequeue": lambda mailbox: mailbox.dequeue(),
    "ack": lambda mailbox: mailbox.ack(uuid4()),
    "ack_many": lambda mailbox: mailbox.ack_many([]),
    "status": lambda mailbox: mailbox.status(),
    "close": lambda mailbox: mailbox.close(),
}


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture(params=["memory", "sqlite"])
def mailbox(request: pytest.FixtureRequest, loop: asyncio.AbstractEventLoop, tmp_path: Path) -> Iterator[Mailbox]:
    location = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/places.db#places"
    mailbox = loop.run_until_complete(_opened(location))
    yield mailbox
    loop.run_until_complete(mailbox.close())


@pytest.mark.parametrize("verb", VERBS)
def test_loop_that_goes_on_in_another_thread(mailbox: Mailbox, loop: asyncio.AbstractEventLoop, verb: str) -> None:
    ends: list[BaseException | None] = []
    thread = threading.Thread(target=lambda: ends.append(_end_of(loop, VERBS[verb](mailbox))))
    thread.start()
    thread.join()
    assert isinstance(ends[0], WrongThreadError)
    assert "thread" in str(ends[0])
    assert loop.run_until_complete(mailbox.status()).queued_messages == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
@pytest.mark.parametrize("verb", VERBS)
def test_loop_that_goes_on_in_a_forked_process(mailbox: Mailbox, loop: asyncio.AbstractEventLoop, verb: str) -> None:
    child = os.fork()
    if child == 0:
        signal.alarm(30)  # a child that works with its parent's handle may wait for ever
        end = _end_of(loop, VERBS[verb](mailbox))
        sys.stderr.write(f"{verb} in the forked process: {end!r}\n")
        os._exit(0 if isinstance(end, WrongThreadError) and "forked" in str(end) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert loop.run_until_complete(mailbox.status()).queued_messages == 0


@pytest.mark.parametrize("verb", VERBS)
def test_no_loop_at_all(mailbox: Mailbox, verb: str) -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        VERBS[verb](mailbox).send(None)


async def _opened(location: str) -> Mailbox:
    return await open_mailbox(location)


def _end_of(loop: asyncio.AbstractEventLoop, call: Coroutine[Any, Any, Any]) -> BaseException | None:
    """The error that a call ends in."""
    try:
        loop.run_until_complete(call)
    except BaseException as error:
        return error
    return None
