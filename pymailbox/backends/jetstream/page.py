"""What a page or worker is to a mailbox on a server: which servers it reaches, and whether it is still there."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import weakref
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from ...contract.errors import MissingImportError
from ...contract.location import IN_PYODIDE, missing_backend
from . import codec
from .codec import Op

if TYPE_CHECKING:
    from .link import Link

_logger = logging.getLogger("pymailbox")

_LONGEST_ABSENCE: Final = 1.0
"""Seconds after which a page that still runs counts as there again: it was not left after all."""

_LOOPBACK: Final = re.compile(r"ws://(localhost|[^/]*\.localhost|127\.[\d.]+|\[::1\]):\d+", re.IGNORECASE)


def check_servers(servers: Sequence[str]) -> None:
    """Whether a client here can connect to servers at all, which all have one scheme.

    Raises:
        StorageUnavailableError: it says what to install, or which location a page can use.
    """
    scheme = servers[0].partition(":")[0]
    if IN_PYODIDE:
        import js

        if not hasattr(js, "WebSocket"):
            raise missing_backend(scheme, "there is no WebSocket. Use a browser, or Node 22 or later")
        check_for_page(servers, str(getattr(js, "origin", "")))
    elif scheme in ("ws", "wss") and find_spec("aiohttp") is None:
        why = "nats-py's WebSocket needs aiohttp. Install it, with pip install 'pymailbox[nats]'"
        raise missing_backend(scheme, why, MissingImportError)


def check_for_page(servers: Sequence[str], origin: str) -> None:
    """As ``check_servers``, for a page of an origin."""
    scheme, secure = servers[0].partition(":")[0], origin.startswith("https:")
    if scheme in ("nats", "tls"):
        raise missing_backend(
            scheme,
            f"a page has nothing but WebSocket. Open {'wss' if secure or scheme == 'tls' else 'ws'}://HOST:PORT/NAME, "
            "with the port of websocket {} in the server's configuration",
        )
    if scheme == "ws" and secure and not all(map(_LOOPBACK.fullmatch, servers)):
        raise missing_backend(
            scheme,
            f"a page of {origin} may not connect without TLS. Open wss://HOST:PORT/NAME, with the port of websocket "
            "{} in the server's configuration, which needs a tls block there, or a web server with TLS before it",
        )


class Whereabouts:
    """Whether the page is there, or is being left or frozen; a worker is told by its page."""

    def __init__(self, js_context: Any) -> None:
        from pyodide.ffi import create_proxy

        self._loop = asyncio.get_running_loop()
        self._links: weakref.WeakSet[Link] = weakref.WeakSet()
        self._back: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._js_document = getattr(js_context, "document", None)
        listeners: dict[str, Callable[[Any], None]] = {
            **dict.fromkeys(("pagehide", "freeze"), self._leave),
            **dict.fromkeys(("pageshow", "resume", "visibilitychange"), self._come_back),
        }
        if self._js_document is None:
            listeners = {"message": self._on_message}
        if not hasattr(js_context, "addEventListener") or hasattr(js_context, "ServiceWorkerGlobalScope"):
            listeners = {}  # nobody would tell
        for name, listener in listeners.items():  # for as long as there is a page
            js_context.addEventListener(name, create_proxy(listener), True)

    def watch_for(self, link: Link) -> None:
        """Lets a connection end whenever the page is left."""
        self._links.add(link)

    async def back(self) -> None:
        """Returns when the page is there."""
        while self._back is not None:
            await asyncio.shield(self._back)

    def _leave(self, _: Any) -> None:
        if self._back is None:
            self._back = self._loop.create_future()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(_LONGEST_ABSENCE, self._go_on)
        for link in list(self._links):
            try:
                _leave(link)
            except Exception:
                _logger.exception("a connection does not end with its page")

    def _come_back(self, _: Any) -> None:
        if getattr(self._js_document, "visibilityState", "visible") == "visible":
            self._go_on()

    def _go_on(self) -> None:
        if self._back is not None:
            self._back.set_result(None)
            self._back = None

    def _on_message(self, js_event: Any) -> None:
        if getattr(js_event.data, "pymailbox", None) == "release":
            self._leave(js_event)


def _leave(link: Link) -> None:
    """Gives back what a connection's handles hold, and ends it for now, all within the call."""
    messages = []
    for replica in link.replicas.values():
        holders = replica.writer.holders
        if replica.writer.is_settled:
            holders = holders & replica.log.store.state.holders.by_number.keys()
        for holder in sorted(holders):  # or something is under way with which it may hold something
            release = codec.encode_command(Op.RELEASE_ALL, codec.pack_fields(holder))
            # on the holder's subject: a step of unknown outcome that the page sends again when it is back is refused
            messages.append((f"{replica.base}.h.{holder:x}", codec.encode(secrets.token_bytes(8), 1, [release])))
    link.leave(messages)


_whereabouts: Whereabouts | None = None


def whereabouts() -> Whereabouts:
    """Of the page or worker that this runs in."""
    global _whereabouts
    if _whereabouts is None:
        import js

        _whereabouts = Whereabouts(js.globalThis)
    return _whereabouts
