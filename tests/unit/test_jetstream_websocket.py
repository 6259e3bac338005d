"""The WebSocket of a page, without a browser."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("nats")

from nats.aio.client import Srv

NAME = "pymailbox.backends.jetstream.websocket"


class FakeSocket:
    """As a browser has it; it is opened in the next turn."""

    made: list[FakeSocket]

    def __init__(self) -> None:
        self.listeners: dict[str, Callable[[Any], None]] = {}
        self.bufferedAmount = 0
        self.is_closed = False
        asyncio.get_running_loop().call_soon(lambda: self.listeners["open"](None))
        self.made.append(self)

    @classmethod
    def new(cls, _: str) -> FakeSocket:
        return cls()

    def addEventListener(self, name: str, listener: Callable[[Any], None]) -> None:  # noqa: N802
        self.listeners[name] = listener

    def removeEventListener(self, name: str, _: Callable[[Any], None]) -> None:  # noqa: N802
        del self.listeners[name]

    def close(self) -> None:
        self.is_closed = True

    def receive(self, data: bytes) -> None:
        self.listeners["message"](SimpleNamespace(data=SimpleNamespace(to_bytes=lambda: data)))


class Proxy:
    def __init__(self, call: Callable[[Any], None]) -> None:
        self._call = call

    def __call__(self, js_event: Any) -> None:
        self._call(js_event)

    def destroy(self) -> None:
        """Nothing holds it."""


@pytest.fixture
def websocket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module, as in a page whose policy forbids that code is evaluated."""

    def run_js(code: str) -> None:
        raise OSError(f"not evaluated: {code}")

    js, pyodide, ffi = ModuleType("js"), ModuleType("pyodide"), ModuleType("pyodide.ffi")
    code = ModuleType("pyodide.code")
    code.run_js = run_js  # type: ignore[attr-defined]
    FakeSocket.made = []
    js.WebSocket = FakeSocket  # type: ignore[attr-defined]
    ffi.JsException, ffi.create_proxy, ffi.to_js = OSError, Proxy, bytes  # type: ignore[attr-defined]
    for name, module in (("js", js), ("pyodide", pyodide), ("pyodide.code", code), ("pyodide.ffi", ffi)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    from pymailbox.backends.jetstream import websocket

    async def back() -> None:
        """The page is there."""

    monkeypatch.setattr(websocket, "whereabouts", lambda: SimpleNamespace(back=back))
    yield websocket
    sys.modules.pop(NAME, None)


async def test_an_attempt_that_failed_is_over_when_the_next_one_begins(websocket: Any) -> None:
    client, heard = websocket.PageClient(), []
    client._parser.listeners[b"1"] = lambda *message: heard.append(message[2])
    client.options["connect_timeout"] = 1
    server = Srv(SimpleNamespace(geturl=lambda: "ws://localhost:1", scheme="ws"))  # type: ignore[arg-type]
    await client._connect_to_server(server)
    client._status = client.CONNECTED
    (before,) = FakeSocket.made
    late = before.listeners["message"]
    before.receive(b"MSG a 1 3\r\none\r\n")
    client._attempts = 20
    connecting = asyncio.create_task(client._connect_to_server(server))
    await asyncio.sleep(0)
    assert before.is_closed  # before the pause
    client.hurry()
    await connecting
    assert before.listeners == {}
    late(SimpleNamespace(data=SimpleNamespace(to_bytes=lambda: b"MSG a 1 3\r\ntwo\r\nMSG a 1 500\r\nhalf")))
    FakeSocket.made[1].receive(b"MSG a 1 5\r\nthree\r\n")
    assert heard == [b"one", b"three"]


async def test_pieces_are_taken_together_as_soon_as_none_is_missing(
    websocket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    takes: list[Callable[[Any], int]] = []
    monkeypatch.setattr(websocket, "_js_collect", lambda: lambda take: takes.append(take._call))
    client, heard = websocket.PageClient(), []
    client._parser.listeners[b"1"] = lambda *message: heard.append(message[2])
    client.options["connect_timeout"] = 1
    await client._connect_to_server(Srv(SimpleNamespace(geturl=lambda: "ws://localhost:1", scheme="ws")))  # type: ignore[arg-type]
    client._status = client.CONNECTED
    [take] = takes

    def missing_after(data: bytes) -> int:
        return take(SimpleNamespace(to_bytes=lambda: data))

    assert missing_after(b"MSG a 1 5\r\nth") == 5
    assert missing_after(b"ree\r\nMSG a 1") == 1
    assert missing_after(b" 3\r\ntwo\r\n") == 0
    assert missing_after(b"PING\r\n") == 0
    assert heard == [b"three", b"two"]


async def test_what_the_browser_has_not_sent_is_counted(websocket: Any) -> None:
    client = websocket.PageClient()
    assert client.unsent == 0
    client.options["connect_timeout"] = 1
    await client._connect_to_server(Srv(SimpleNamespace(geturl=lambda: "ws://localhost:1", scheme="ws")))  # type: ignore[arg-type]
    FakeSocket.made[0].bufferedAmount = 7
    assert client.unsent == 7
