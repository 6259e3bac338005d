"""Assertions with readable messages. They are functions, since ``python -O`` drops ``assert`` statements."""

from __future__ import annotations

import asyncio
import reprlib
from collections.abc import Awaitable, Callable
from typing import Any

PATIENCE = 20.0
"""Seconds that ``eventually`` allows for what may happen a moment later. A guard against hanging, not a speed goal."""

_short = reprlib.Repr()
_short.maxlist = _short.maxtuple = _short.maxdict = _short.maxset = 12
_short.maxstring = _short.maxother = 160


def expect(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def expect_equal(actual: object, wanted: object, what: str) -> None:
    if actual != wanted:
        raise AssertionError(f"{what}: expected {_short.repr(wanted)}, got {_short.repr(actual)}")


def expect_no_repeats(values: list[Any], what: str) -> None:
    repeated = {value for value in values if values.count(value) > 1} if len(set(values)) < len(values) else ()
    if repeated:
        raise AssertionError(f"{what}: {_short.repr(sorted(repeated))} came more than once")


async def expect_error(
    kinds: type[BaseException] | tuple[type[BaseException], ...],
    call: Callable[..., Awaitable[object]],
    *arguments: Any,
    naming: str = "",
    what: str = "the call",
) -> BaseException:
    """Makes a call that must raise one of ``kinds``, at the call or when awaited, with ``naming`` in its text."""
    wanted = " or ".join(kind.__name__ for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))
    try:
        result = await call(*arguments)
    except kinds as error:
        if naming not in str(error):
            raise AssertionError(f"{what}: the {type(error).__name__} does not name {naming!r}: {error}") from error
        return error
    except Exception as error:
        raise AssertionError(f"{what}: expected {wanted}, got {error!r}") from error
    raise AssertionError(f"{what}: expected {wanted}, got the result {_short.repr(result)}")


async def eventually(look: Callable[[], Awaitable[object]], wanted: object, what: str) -> None:
    """Looks again and again, ever more rarely, until it sees ``wanted``."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    pause = 0.01
    while (seen := await look()) != wanted:
        if loop.time() > deadline:
            expect_equal(seen, wanted, f"{what}, after {PATIENCE:.0f} seconds")
        await asyncio.sleep(pause)
        pause = min(pause * 1.2, 0.05)
