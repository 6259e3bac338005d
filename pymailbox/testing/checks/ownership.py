"""A handle belongs to the thread and event loop that opened it, and cannot be used elsewhere."""

from __future__ import annotations

import asyncio
import copy
import pickle
import sys
import threading
from collections.abc import Awaitable

from ...contract.errors import WrongThreadError
from ...contract.mailbox import Mailbox
from .._expect import expect, expect_equal, expect_error
from .._sandbox import Sandbox, drain, payloads_of
from .._suite import check
from .._verbs import VerbCall, verbs_of


def _verbs_and_close(mailbox: Mailbox) -> dict[str, VerbCall]:
    return verbs_of(mailbox) | {"close": lambda mailbox: mailbox.close()}


async def _expect_untouched(mailbox: Mailbox) -> None:
    """The handle works, and nothing that was tried elsewhere has happened."""
    await mailbox.enqueue(b"sender", b"still works")
    expect_equal(payloads_of(await drain(mailbox)), [b"still works"], "payloads")


@check()
async def check_another_event_loop_is_refused(sandbox: Sandbox) -> None:
    """A call that runs in another event loop raises ``WrongThreadError`` and does nothing."""
    mailbox = await sandbox.open()
    for name, call in _verbs_and_close(mailbox).items():
        # set_depth_observer is not a coroutine: it needs no loop, and its thread is the right one
        if name != "set_depth_observer":
            await expect_error(WrongThreadError, _in_another_loop, call, mailbox, what=name)
    await _expect_untouched(mailbox)


async def _in_another_loop(call: VerbCall, mailbox: Mailbox) -> object:
    """Makes the call's first step while another event loop claims to be running."""
    own_loop, other_loop = asyncio.get_running_loop(), asyncio.BaseEventLoop()
    steps: list[object] = []
    asyncio._set_running_loop(other_loop)
    try:
        awaitable: Awaitable[object] = call(mailbox)
        iterator = awaitable.__await__()
        try:
            steps.append(next(iterator))
        except StopIteration as stop:
            return stop.value
        finally:
            iterator.close()
    finally:
        asyncio._set_running_loop(own_loop)
        other_loop.close()
    return f"no error at its first step, but a wait for {steps}"


@check()
async def check_another_thread_is_refused(sandbox: Sandbox) -> None:
    """A call from another thread raises ``WrongThreadError`` and does nothing."""
    mailbox = await sandbox.open()
    if sys.platform == "emscripten":
        # no thread can start in Pyodide, so none can misuse a handle; should that change, this fails
        await expect_error(RuntimeError, _start_a_thread)
        return
    for name, call in _verbs_and_close(mailbox).items():
        outcome = await _outcome_in_a_thread(call, mailbox)
        expect(isinstance(outcome, WrongThreadError), f"{name}: expected WrongThreadError, got {outcome!r}")
    await _expect_untouched(mailbox)


async def _start_a_thread() -> None:
    threading.Thread(target=lambda: None).start()


async def _outcome_in_a_thread(call: VerbCall, mailbox: Mailbox) -> object:
    """What the call returned or raised in a new thread with its own event loop."""

    async def try_it() -> object:
        try:
            return await call(mailbox)
        except Exception as error:
            return error

    return await asyncio.to_thread(lambda: asyncio.run(try_it()))


@check()
async def check_handle_cannot_be_pickled_or_copied(sandbox: Sandbox) -> None:
    """``pickle``, ``copy.copy`` and ``copy.deepcopy`` of a handle are a ``TypeError``."""
    mailbox = await sandbox.open()

    async def deep_copy() -> object:
        return copy.deepcopy({"in a structure": [mailbox]})

    async def shallow_copy() -> object:
        return copy.copy(mailbox)

    await expect_error(TypeError, shallow_copy, what="copy.copy")
    await expect_error(TypeError, deep_copy, what="copy.deepcopy")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):

        async def pickled(protocol: int = protocol) -> object:
            return pickle.dumps(mailbox, protocol)

        await expect_error(TypeError, pickled, what=f"pickle.dumps with protocol {protocol}")
    await _expect_untouched(mailbox)
