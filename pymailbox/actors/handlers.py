"""What a handler may look like."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from ..contract.values import MessageRecord
from .context import Context

Handler: TypeAlias = Callable[[MessageRecord], object] | Callable[[MessageRecord, Context], object]
"""``handler(message)`` or ``handler(message, context)``, ``async`` or not. Its result is ignored."""


def to_call(handler: Any) -> Callable[[MessageRecord, Context], Awaitable[None]]:
    """The handler as an asynchronous function of two arguments.

    Raises:
        TypeError: it cannot be called with a message.
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

    return call


def _takes_context(handler: Callable[..., object]) -> bool:
    try:
        signature = inspect.signature(handler)
    except ValueError:
        return False  # a built-in function without a signature
    for count in (2, 1):
        try:
            signature.bind(*[None] * count)
        except TypeError:
            continue
        return count == 2
    raise TypeError(f"handler must take a message, or a message and its context, not {signature}")
