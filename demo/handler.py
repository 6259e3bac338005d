"""What is done with a message: the trouble that was asked for, the time that work takes, the visitor's handler."""

import asyncio
import inspect
import traceback
from collections.abc import Callable

import actor

from pymailbox import MessageRecord

NAME = "handler"
"""Of the file that the visitor's text would be."""

LONGEST_ANSWER = 100_000
"""In bytes; what is longer is cut. A data channel takes little more in one piece."""


class HandlerError(Exception):
    """The visitor's text is no handler; says why, and in which line."""


class DemoHandler:
    """Handles messages as the visitor has set it.

    Args:
        failed: is told of each delivery that failed, why, and whether the visitor's text is to blame.
    """

    def __init__(self, failed: Callable[[MessageRecord, str, bool], None]) -> None:
        self.mended = False
        """Whether the mistake with poison has been mended."""
        self.seconds = 0.0
        """That the work on a message takes."""
        self._failed = failed
        self._handle: actor.Handler = actor.handle

    def replace(self, source: str) -> None:
        """Takes another handler from now on.

        Raises:
            HandlerError: the text cannot be run, or defines no `async def handle(message)`; the handler stays.
        """
        namespace = dict(vars(actor))
        del namespace["handle"]
        try:
            exec(compile(source, NAME, "exec"), namespace)
        except BaseException as error:
            raise HandlerError(_said(error)) from None
        handle = namespace.get("handle")
        if not inspect.iscoroutinefunction(handle) or not _takes_a_message(handle):
            raise HandlerError("There is no `async def handle(message)` in it.")
        self._handle = handle

    async def __call__(self, message: MessageRecord) -> str:
        """The answer, once the work is done."""
        try:
            await self._make_trouble(message)
        except Exception as error:
            self._failed(message, _said(error), False)
            raise
        if self.seconds > 0:
            await asyncio.sleep(self.seconds)
        try:
            return _cut(str(await self._handle(message)))
        except Exception as error:
            self._failed(message, _said(error), True)
            raise
        except (SystemExit, KeyboardInterrupt) as error:
            self._failed(message, _said(error), True)
            # as it is it would end the worker's Python
            raise HandlerError(_said(error)) from error

    async def _make_trouble(self, message: MessageRecord) -> None:
        if message.payload.startswith(b"hang!") and message.delivery_count == 1:
            await asyncio.sleep(24 * 60 * 60)
        if message.payload.startswith(b"crash!") and message.delivery_count < actor.MAX_DELIVERIES:
            raise ConnectionError(f"delivery {message.delivery_count} met a network that was down")
        if message.payload.startswith(b"poison!") and not self.mended:
            raise ValueError("the handler has a mistake, and this message finds it")


def _takes_a_message(handle: Callable[..., object]) -> bool:
    try:
        inspect.signature(handle).bind(None)
    except TypeError:
        return False
    return True


def _cut(answer: str) -> str:
    """An answer that can be stored and sent.

    Raises:
        UnicodeEncodeError: it is no text.
    """
    encoded = answer.encode()
    return answer if len(encoded) <= LONGEST_ANSWER else encoded[:LONGEST_ANSWER].decode(errors="ignore") + "…"


def _said(error: BaseException) -> str:
    """An error in one line, with the line of the visitor's text that it comes from."""
    said = traceback.format_exception_only(error)[-1].strip()
    line = _line(error)
    return said if line is None else f"{said} (line {line})"


def _line(error: BaseException) -> int | None:
    if isinstance(error, SyntaxError):
        return error.lineno
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == NAME]
    return lines[-1] if lines else None
