"""Mailboxes from synchronous Python, if the browser can suspend it.

Imported only on first use: having ``pyodide.ffi.run_sync`` shows that a program's tasks must be suspendable.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Coroutine, Generator
from typing import NoReturn, TypeVar

from ..contract.errors import UnsupportedError
from ..contract.location import IN_PYODIDE

if IN_PYODIDE:
    from pyodide.ffi import can_run_sync
    from pyodide.ffi import run_sync as suspend

T = TypeVar("T")


def run_sync(awaitable: Awaitable[T]) -> T:
    """Waits for an awaitable without ``await``: for synchronous code in a page or a worker.

        mailbox = run_sync(open_mailbox("inbox"))
        run_sync(mailbox.enqueue(b"me", b"hello"))

    Meanwhile the event loop runs other tasks. This needs a browser with JavaScript Promise Integration (JSPI), and
    JavaScript must have called Python in a way that can be suspended, as ``pyodide.runPythonAsync`` does.

    Raises:
        UnsupportedError: one of these is missing, or this is not Pyodide; no part of the awaitable has run.
    """
    if not IN_PYODIDE:
        _refuse(
            awaitable,
            "run_sync is for Pyodide in a browser. Here, pymailbox.sync has the verbs without await; or "
            "asyncio.run() an async function",
        )
    if not can_run_sync():
        _refuse(
            awaitable,
            "Python cannot be suspended here: this browser, like WebKit, has no JavaScript Promise Integration (JSPI), "
            "or JavaScript called Python synchronously, or this runs right after an awaited verb. Call it with "
            "pyodide.runPythonAsync(), call pymailbox.set_suspendable(True) before the verb, or use await",
        )
    result: T = suspend(_wait_for(awaitable))
    return result


async def _wait_for(awaitable: Awaitable[T]) -> T:
    return await awaitable


def _refuse(awaitable: Awaitable[object], why: str) -> NoReturn:
    waiting = awaitable if inspect.iscoroutine(awaitable) else getattr(awaitable, "__await__", lambda: None)()
    if isinstance(waiting, Coroutine | Generator):
        waiting.close()  # otherwise it would be reported as never awaited
    raise UnsupportedError(why)
