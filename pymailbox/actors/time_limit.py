"""How long a handler may take."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Self

from ..contract.errors import Reject
from ..contract.values import MessageRecord
from .context import Context
from .retry import Retry
from .stopping import LONGEST_TIMER
from .tracebacks import from_handler

OVERDUE = 10.0
"""Seconds after its cancellation at which the log says that a handler still has not ended."""

_logger = logging.getLogger("pymailbox")


class TimeLimit:
    """Cancels the task that has entered it, once, if it is still inside after some seconds."""

    expired = False

    def __init__(self, seconds: float, on_overdue: Callable[[], None] | None = None) -> None:
        self._on_overdue = on_overdue
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + seconds
        self._task = asyncio.current_task()

    def __enter__(self) -> Self:
        self._set_timer()
        return self

    def __exit__(self, *failure: object) -> None:
        self._timer.cancel()
        if self.expired and self._task is not None:
            self._task.uncancel()

    @property
    def cancelled_by_others(self) -> bool:
        """Whether somebody else has cancelled the task as well; to be asked when it has been left."""
        return self._task is not None and self._task.cancelling() > 0

    def _set_timer(self) -> None:
        left = max(0.0, self._deadline - self._loop.time())  # Pyodide's loop refuses a time that has passed
        self._timer = self._loop.call_later(min(left, LONGEST_TIMER), self._on_timer)

    def _on_timer(self) -> None:
        if self._loop.time() < self._deadline:
            self._set_timer()
        elif self._task is not None:
            self.expired = True
            self._task.cancel()
            if self._on_overdue is not None:
                self._timer = self._loop.call_later(OVERDUE, self._on_overdue)


def limited(
    call: Callable[[MessageRecord, Context], Awaitable[None]], timeout: float
) -> Callable[[MessageRecord, Context], Awaitable[None]]:
    """A handler that is cancelled after ``timeout`` seconds, which makes its delivery a failed one.

    It ends when the handler has ended, however long that takes. How it ends then makes no difference, unless it says
    with ``Reject`` or ``Retry`` what is to become of its message.
    """

    async def call_limited(message: MessageRecord, context: Context) -> None:
        def warn() -> None:
            _logger.warning(
                "the handler of message %s was cancelled after %g s and has not ended; until it does, it keeps its "
                "place and its message",
                message.id,
                timeout,
            )

        limit = TimeLimit(timeout, warn)
        end: BaseException | None = None
        try:
            with limit:
                await call(message, context)
        except asyncio.CancelledError as error:
            if not limit.expired or limit.cancelled_by_others:
                raise
            end = error
        except (Reject, Retry):
            raise
        except Exception as error:
            if not limit.expired:
                raise
            end = error
        if limit.expired:
            cause = end and end.with_traceback(from_handler(end.__traceback__))
            raise TimeoutError(f"the handler took longer than {timeout:g} s and was cancelled") from cause

    return call_limited
