"""How the handles of one origin in one browser hear of each other's end: each has a Web Lock, named by its number.

A number begins with the browser's, which is kept with the site's data: others know by it whose locks they would see.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from ...contract.location import IN_PYODIDE

_logger = logging.getLogger("pymailbox")

_OWN_BITS: Final = 24
"""Of a number, that tell handles of one browser apart; a lock makes sure of it."""

_PLACE: Final = "pymailbox-browser"
"""Where the browser's number is: a cache, and the one answer in it."""

_held: dict[int, asyncio.Future[None]] = {}
"""The numbers of this page's or worker's handles, and what ends their locks."""

_asking: set[asyncio.Task[None]] = set()

_browser: asyncio.Future[int] | None = None
"""Its number, once somebody has asked."""


async def new_number(bits: int) -> int:
    """A handle's number, of so many bits, under a lock until ``let_go`` if there are locks here."""
    browser = await _browser_number(bits - _OWN_BITS) if IN_PYODIDE else None
    while browser is not None:
        number = browser << _OWN_BITS | secrets.randbits(_OWN_BITS)
        release = await _lock(_lock_of(number), wait=False, on_loss=partial(_hold_again, number))
        if release is not None:
            _held[number] = release
            return number
    return _random_number(bits)


def _hold_again(number: int) -> None:
    """Somebody has taken a lock away; WebKit does so as it caches a page."""

    async def hold() -> None:
        release = await _lock(_lock_of(number), wait=True, on_loss=partial(_hold_again, number))
        assert release is not None
        if number in _held:
            _held[number] = release
        else:
            release.set_result(None)

    if number in _held:
        task = asyncio.ensure_future(hold())
        _asking.add(task)
        task.add_done_callback(_asking.discard)


def _random_number(bits: int) -> int:
    return secrets.randbits(bits) | 1 << bits - 1


def let_go(number: int) -> None:
    """Ends a handle's lock: by the log it holds nothing any more."""
    release = _held.pop(number, None)
    if release is not None:
        release.set_result(None)


async def ended(holders: Iterable[int]) -> list[int]:
    """Those holders that were of this browser and origin, and whose page or worker has ended."""
    if _browser is None:
        return []
    browser = await _browser
    near = [holder for holder in holders if holder not in _held and holder >> _OWN_BITS == browser]
    if not near:
        return []
    from pyodide.ffi import JsException

    import js

    try:
        names = {js_lock.name for js_lock in (await js.navigator.locks.query()).held}
    except JsException:  # Firefox tells nothing in a frame of another site
        return []
    return [holder for holder in near if _lock_of(holder) not in names]


def _lock_of(number: int) -> str:
    return f"pymailbox/nats/{number:x}"


async def _browser_number(bits: int) -> int | None:
    """None where nothing shows who lives: outside of browsers, and where neither https nor localhost is."""
    global _browser
    from pyodide.ffi import JsException

    import js

    if _browser is None:
        if not hasattr(js, "caches") or not hasattr(js.navigator, "locks"):
            return None
        _browser = asyncio.ensure_future(_read_browser_number(bits))
    try:
        return await asyncio.shield(_browser)
    except JsException as error:  # this browser keeps nothing for this page
        _logger.debug("leases alone say whether a holder lives: %s", error)
        _browser = None
        return None


async def _read_browser_number(bits: int) -> int:
    import js

    release = await _lock(_PLACE, wait=True)
    assert release is not None
    try:
        js_cache = await js.caches.open(_PLACE)
        js_kept = await js_cache.match(f"/{_PLACE}")
        if js_kept:
            return int(await js_kept.text(), 16)
        number = _random_number(bits)
        await js_cache.put(f"/{_PLACE}", js.Response.new(f"{number:x}"))
        return number
    finally:
        release.set_result(None)


async def _lock(name: str, *, wait: bool, on_loss: Callable[[], None] | None = None) -> asyncio.Future[None] | None:
    """What ends the lock of that name when it is set; None if somebody else has it and is not waited for."""
    from pyodide.ffi import create_once_callable, to_js

    import js

    loop = asyncio.get_running_loop()
    granted: asyncio.Future[bool] = loop.create_future()
    released: asyncio.Future[None] = loop.create_future()

    def on_answer(js_lock: Any) -> asyncio.Future[None] | None:
        granted.set_result(bool(js_lock))
        return released if js_lock else None

    def on_error(error: Exception) -> None:
        if not granted.done():
            granted.set_exception(error)
        elif on_loss is not None:
            on_loss()

    options = to_js({"ifAvailable": not wait}, dict_converter=js.Object.fromEntries)
    js.navigator.locks.request(name, options, create_once_callable(on_answer)).catch(on_error)
    try:
        return released if await granted else None
    except BaseException:
        released.set_result(None)
        raise
