"""Tasks that begin when they are made, as Python has them from 3.12 on; before that, here is how they behave.

`cell.py` runs on them in a process of its own.
"""

import asyncio
import sys
from asyncio import tasks
from contextvars import Context
from typing import Any


class _Captured:
    """An event loop that keeps what it is to call soon."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def call_soon(self, step: Any, *_: Any, **__: Any) -> None:
        self.step = step

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


class _EagerTask(tasks._PyTask):  # type: ignore[name-defined,misc]  # the C one can't be told when to begin
    def __init__(self, coro: Any, *, loop: Any, name: str | None = None, context: Context | None = None) -> None:
        captured = _Captured(loop)
        super().__init__(coro, loop=captured, name=name, context=context)
        self._loop = loop
        parent = asyncio.current_task(loop)
        if parent is not None:
            tasks._leave_task(loop, parent)
        try:
            self._context.run(captured.step)
        finally:
            if parent is not None:
                tasks._enter_task(loop, parent)


def eager_task_factory(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> Any:
    """A task factory."""
    if sys.version_info >= (3, 12):
        return asyncio.eager_task_factory(loop, coro, **options)
    return _EagerTask(coro, loop=loop, **options)
