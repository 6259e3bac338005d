"""nats-py's client over the WebSocket of a page or worker, which is all that a browser has for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, Final
from urllib.parse import ParseResult

from nats.aio.client import DEFAULT_BUFFER_SIZE
from nats.aio.transport import Transport
from nats.protocol.command import pub_cmd
from pyodide.code import run_js
from pyodide.ffi import JsException, create_proxy, to_js

from js import WebSocket

from .client import LinkClient
from .page import whereabouts

_MOST_BUFFERED: Final = 1024 * 1024
"""Bytes that may wait in the browser until more are sent."""

_LOOK_AGAIN: Final = 0.01
"""Seconds after which it is asked again how many wait."""


_COLLECT: Final = """(take) => {
  let parts = [], size = 0, missing = 0;
  return ({ data }) => {
    parts.push(data);
    size += data.byteLength;
    if (size < missing) return;
    let all = data;
    if (parts.length > 1) {
      all = new Uint8Array(size);
      let at = 0;
      for (const part of parts) {
        all.set(new Uint8Array(part), at);
        at += part.byteLength;
      }
    }
    parts = [];
    size = 0;
    missing = take(all);
  };
}"""
"""A listener for a server that sends a browser pieces of 4 KiB: calls ``take`` with so many of them together as that
has said are missing."""


@cache
def _js_collect() -> Any:
    """None if the page's Content-Security-Policy forbids that code is evaluated."""
    try:
        return run_js(_COLLECT)
    except JsException:
        return None


class _Connection(Transport):
    """One WebSocket; another one is made for the next attempt."""

    def __init__(self, take: Callable[[bytes], bytes], missing: Callable[[], int]) -> None:
        self._js_socket: Any = None
        self._take = take
        """Takes what comes at once; gives what has to be read."""
        self._missing = missing
        """How many bytes have to come until it can go on."""
        self._js_listeners: list[tuple[str, Any, Any]] = []
        """With the functions of Python's that they call."""
        self._is_open = False
        self._has_ended = False
        self._out: list[bytes] = []
        self._received: list[bytes] = []
        self._arrival: asyncio.Future[None] | None = None

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: float) -> None:
        opened = asyncio.get_running_loop().create_future()

        def on_open(_: Any) -> None:
            self._is_open = True
            _resolve(opened)

        def take(js_data: Any) -> int:
            data = js_data.to_bytes()
            if not self._received:
                data = self._take(data)
            if not data:
                return self._missing()
            self._received.append(data)
            _resolve(self._arrival)
            return 0

        def on_message(js_event: Any) -> None:
            take(js_event.data)

        def on_close(_: Any) -> None:
            self.end()
            _resolve(opened)

        try:
            js_socket = self._js_socket = WebSocket.new(uri.geturl())
        except JsException as error:
            raise ConnectionError(f"the browser opens no WebSocket to {uri.geturl()}: {error}") from error
        js_socket.binaryType = "arraybuffer"
        js_collect = _js_collect()
        for name, listener in (("open", on_open), ("message", take if js_collect else on_message), ("close", on_close)):
            js_proxy = create_proxy(listener)
            js_listener = js_collect(js_proxy) if listener is take else js_proxy
            self._js_listeners.append((name, js_listener, js_proxy))
            js_socket.addEventListener(name, js_listener)
        try:
            async with asyncio.timeout(connect_timeout):
                await opened
            if not self._is_open:
                raise ConnectionError(
                    f"no WebSocket to {uri.geturl()}: the browser does not say why. Does the server run, and do "
                    "allowed_origins in its configuration name this page's?"
                )
        except BaseException:
            self.close()
            raise

    async def connect_tls(self, uri: Any, ssl_context: Any, buffer_size: int, connect_timeout: float) -> None:
        """``wss://`` has it from the beginning."""

    def write(self, payload: bytes) -> None:
        self._out.append(payload)

    def writelines(self, payload: Iterable[bytes]) -> None:
        self._out.extend(payload)

    def flush(self) -> None:
        """Hands what was written to the browser, which sends it whatever becomes of Python.

        Raises:
            ConnectionError: there is no connection any more.
        """
        if self._out:
            if not self._is_open:
                raise ConnectionError("the WebSocket is closed")
            out = b"".join(self._out)
            self._out.clear()
            self._js_socket.send(to_js(out))

    async def drain(self) -> None:
        self.flush()
        while self._is_open and self._js_socket.bufferedAmount > _MOST_BUFFERED:  # noqa: ASYNC110  no event tells
            await asyncio.sleep(_LOOK_AGAIN)

    async def read(self, buffer_size: int) -> bytes:
        while not self._received and not self._has_ended:
            self._arrival = asyncio.get_running_loop().create_future()
            await self._arrival
        received = b"".join(self._received)
        self._received.clear()
        return received

    async def readline(self) -> bytes:
        line = b""
        while b"\n" not in line and not self.at_eof():
            line += await self.read(0)
        line, newline, rest = line.partition(b"\n")
        if rest:
            self._received.insert(0, rest)
        return line + newline

    def at_eof(self) -> bool:
        return self._has_ended and not self._received

    def close(self) -> None:
        """What was handed to the browser is still sent, if the page is there."""
        self.end()
        js_listeners, self._js_listeners = self._js_listeners, []
        for name, js_listener, js_proxy in js_listeners:
            self._js_socket.removeEventListener(name, js_listener)
            js_proxy.destroy()
        if self._js_socket is not None:
            self._js_socket.close()

    async def wait_closed(self) -> None:
        """Nothing has to be waited for."""

    def end(self) -> None:
        """Sends nothing any more. The client then closes it, unless the page is gone by then: Firefox would drop what
        is not yet sent.
        """
        self._is_open, self._has_ended = False, True
        _resolve(self._arrival)

    def __bool__(self) -> bool:
        return self._is_open


class PageClient(LinkClient):
    """Connects as a page can, and only while the page is there."""

    ssl_context = None  # type: ignore[assignment]  # the browser has its own

    async def _connect_to_server(self, s: Any) -> None:
        self._end_attempt()
        await self._pause()
        s.last_attempt = time.monotonic()
        await whereabouts().back()

        def take(data: bytes) -> bytes:
            return self._take(data) if self._transport is connection else b""

        def missing() -> int:
            return self._parser.missing if self._transport is connection else 0

        self._transport = connection = _Connection(take, missing)
        await connection.connect(s.uri, DEFAULT_BUFFER_SIZE, self.options["connect_timeout"])

    @property
    def unsent(self) -> int:
        js_socket = getattr(self._transport, "_js_socket", None)
        return 0 if js_socket is None else js_socket.bufferedAmount

    def leave(self, messages: Sequence[tuple[str, bytes]]) -> None:
        connection = self._transport
        if not self.is_connected or not isinstance(connection, _Connection):
            return
        pending, self._pending, self._pending_data_size = self._pending, [], 0
        with suppress(ConnectionError):
            self._write([*pending, *(pub_cmd(subject, "", data) for subject, data in messages)])
        connection.end()

    def _write(self, commands: Sequence[bytes]) -> bool:
        connection = self._transport
        if not isinstance(connection, _Connection):
            return False
        connection.writelines(commands)
        connection.flush()
        return True


def _resolve(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)
