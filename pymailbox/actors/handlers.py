"""What a handler may look like."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from ..contract.values import MessageRecord
from .context import Context
from .time_limit import limited

Handler: TypeAlias = Callable[[MessageRecord], object] | Callable[[MessageRecord, Context], object]
"""``handler(message)`` or ``handler(message, context)``, ``async`` or not. Its result is ignored.

A second parameter that has a default keeps it, unless it is named ``context``.
"""


def to_call(handler: Any, timeout: float | None = None) -> Callable[[MessageRecord, Context], Awaitable[None]]:
    """The handler as an asynchronous function of two arguments, which takes no longer than ``timeout`` seconds.

    Raises:
        TypeError: it cannot be called with a message, or is not asynchronous and so cannot be cancelled.
    """
    if not callable(handler):
        raise TypeError(f"handler must be a function, not {type(handler).__name__}")
    if inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler):
        raise TypeError("handler must not be a generator: calling it would not run it")
    takes_context = _takes_context(handler)

    async def call(message: MessageRecord, context: Context) -> None:
        result = handler(message, context) if takes_context else handler(message)
        if inspect.isawaitable(result):
            await result

    if timeout is None:
        return call
    if not is_async(handler):
        raise TypeError(
            f"timeout needs a handler that is an async function, since a synchronous one cannot be cancelled; "
            f"{handler!r} is not"
        )
    return limited(call, timeout)


def is_async(handler: Any) -> bool:
    """Whether it is a function, or an object whose call is one, that has to be awaited."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(type(handler).__call__)


def _takes_context(handler: Callable[..., object]) -> bool:
    try:
        signature = inspect.signature(handler)
    except ValueError:
        return False  # a built-in function without a signature
    for count in (2, 1):
        try:
            *_, last = signature.bind(*[None] * count).arguments
        except TypeError:
            continue
        # a default is the handler's own, as in ``lambda message, into=mailbox: …``
        has_default = signature.parameters[last].default is not inspect.Parameter.empty
        return count == 2 and (last == "context" or not has_default)
    raise TypeError(f"handler must take a message, or a message and its context, not {signature}")
