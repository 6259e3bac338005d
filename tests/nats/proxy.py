"""A TCP proxy between a client and a server, which can cut, stall and delay what goes through it, and set the clock by
which the server says when messages of a stream came.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any, TypeVar

from tools.serve import HOST

T = TypeVar("T")

Clock = Callable[[int], int]
"""Gives seconds by which a message of a stream, known by its number, came later than the server says."""

_DELIVERED = re.compile(rb"(\$JS\.ACK\.[^ ]*\.)(\d+)(\.\d+\.)(\d{19})(\.\d+ )")
"""What a consumer says of a message: its number, and the nanoseconds of its time."""

_STORED = re.compile(rb'("seq":)(\d+)([^}]*"time":")([^".Z]{19})')
"""What is said of a message that was asked for."""

SECONDS = 10.0
PIECE = 65536


class Proxy:
    """Listens on a port of its own, in a thread of its own, and is used from any other; a context manager."""

    def __init__(self, address: str) -> None:
        """What connects is led to `address`, HOST:PORT."""
        self._host, _, port = address.partition(":")
        self._port = int(port)
        self.port = 0
        self.delay = 0.0
        """Seconds that each piece waits before it goes on, in both directions."""
        self.clock: Clock | None = None
        self._links: set[_Link] = set()
        self._refuses = False
        self._trap: _Trap | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> Proxy:
        self._thread.start()
        assert self._ready.wait(SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    @property
    def address(self) -> str:
        """HOST:PORT for clients."""
        return f"{HOST}:{self.port}"

    @property
    def connections(self) -> int:
        """How many go through it now."""
        return len(self._links)

    def cut(self, *, refuse: bool = False) -> None:
        """End all connections at once; with `refuse`, new ones too, until it is mended."""
        self._do(self._cut(refuse))

    def stall(self) -> None:
        """Pass nothing on, without ending anything, until it is mended."""
        self._do(self._stall())

    def mend(self) -> None:
        """Let everything through again: what was stalled goes on."""
        self._do(self._mend())

    def lose_request(self, text: bytes) -> threading.Event:
        """Cut the connection in place of passing on what a client sends next with `text` in it; set when done."""
        return self._do(self._set_trap(_Trap(text, passes=False)))

    def lose_answer(self, text: bytes) -> threading.Event:
        """Pass on what a client sends next with `text` in it, and cut the connection in place of what the server says
        then; set when that is done.
        """
        return self._do(self._set_trap(_Trap(text, passes=True)))

    # -- in the proxy's own thread ------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over, self._flows = asyncio.Event(), asyncio.Event()
        self._flows.set()
        server = await asyncio.start_server(self._lead, HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._over.wait()
        server.close()
        tasks = [link.task for link in self._links]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        link = _Link(task)
        self._links.add(link)
        try:
            to_reader, to_writer = await asyncio.open_connection(self._host, self._port)
            link.writers = [writer, to_writer]
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(reader, to_writer, link, self._sees_request))
                pumps.create_task(self._pump(to_reader, writer, link, self._sees_answer))
        except* OSError:
            pass
        finally:
            self._links.discard(link)
            link.cut()
            writer.transport.abort()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        link: _Link,
        sees: Callable[[_Link, bytes], bool],
    ) -> None:
        while piece := await self._read(reader, sees == self._sees_answer):
            if self.delay:
                await asyncio.sleep(self.delay)
            await self._flows.wait()
            if not sees(link, piece):
                break
            writer.write(piece)
            await writer.drain()
        link.end()

    async def _read(self, reader: asyncio.StreamReader, answers: bool) -> bytes:
        piece = await reader.read(PIECE)
        if not answers or self.clock is None:
            return piece
        while piece and not piece.endswith(b"\r\n"):
            more = await reader.read(PIECE)
            if not more:
                break
            piece += more
        return _STORED.sub(self._told_again, _DELIVERED.sub(self._told, piece))

    def _told(self, found: re.Match[bytes]) -> bytes:
        assert self.clock is not None
        before, seq, between, time, after = found.groups()
        return b"%b%b%b%d%b" % (before, seq, between, int(time) + self.clock(int(seq)) * 1_000_000_000, after)

    def _told_again(self, found: re.Match[bytes]) -> bytes:
        assert self.clock is not None
        before, seq, between, time = found.groups()
        moved = datetime.fromisoformat(time.decode()) + timedelta(seconds=self.clock(int(seq)))
        return before + seq + between + moved.isoformat().encode()

    def _sees_request(self, link: _Link, piece: bytes) -> bool:
        """Whether what a client sends is to be passed on."""
        trap = self._trap
        if trap is None or trap.text not in piece:
            return True
        self._trap = None
        if trap.passes:
            link.trap = trap
        else:
            trap.sprung.set()
        return trap.passes

    def _sees_answer(self, link: _Link, _: bytes) -> bool:
        """Whether what a server sends is to be passed on."""
        if link.trap is not None:
            link.trap.sprung.set()
        return link.trap is None

    async def _cut(self, refuse: bool) -> None:
        self._refuses = refuse
        for link in self._links:
            link.cut()

    async def _stall(self) -> None:
        self._flows.clear()

    async def _mend(self) -> None:
        self._refuses = False
        self._flows.set()

    async def _set_trap(self, trap: _Trap) -> threading.Event:
        self._trap = trap
        return trap.sprung

    def _do(self, what: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(SECONDS)


class _Trap:
    """Cuts a connection at a text."""

    def __init__(self, text: bytes, *, passes: bool) -> None:
        self.text = text
        self.passes = passes
        self.sprung = threading.Event()


class _Link:
    """A client's connection, and that to the server."""

    def __init__(self, task: asyncio.Task[None]) -> None:
        self.task = task
        self.writers: list[asyncio.StreamWriter] = []
        self.trap: _Trap | None = None

    def cut(self) -> None:
        """End both at once."""
        for writer in self.writers:
            writer.transport.abort()

    def end(self) -> None:
        """End both once all that was written is sent."""
        for writer in self.writers:
            with contextlib.suppress(OSError):
                writer.close()
