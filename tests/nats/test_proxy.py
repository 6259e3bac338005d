"""The proxy passes everything on, cuts, stalls, delays, and loses one request or answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.nats.proxy import Proxy
from tools.serve import HOST

QUIET_SECONDS = 0.1
SECONDS = 5.0


@asynccontextmanager
async def echo() -> AsyncIterator[tuple[Proxy, list[bytes]]]:
    """A proxy before a server that sends back each line, and the lines that came there."""
    lines: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                lines.append(line)
                writer.write(line)
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, HOST, 0)
    with Proxy(f"{HOST}:{server.sockets[0].getsockname()[1]}") as proxy:
        yield proxy, lines
    server.close()


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def connected(proxy: Proxy) -> AsyncIterator[Connection]:
    """A connection through the proxy."""
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def ask(connection: Connection, line: bytes) -> bytes:
    """The answer; nothing if the connection has ended."""
    reader, writer = connection
    try:
        writer.write(line)
        await writer.drain()
        async with asyncio.timeout(SECONDS):
            return await reader.readline()
    except OSError:
        return b""


async def test_everything_goes_through() -> None:
    async with echo() as (proxy, _):
        async with connected(proxy) as ours:
            assert await ask(ours, b"hello\n") == b"hello\n"
            assert proxy.connections == 1
        await asyncio.sleep(QUIET_SECONDS)
        assert proxy.connections == 0


async def test_cut_connections_are_over_and_new_ones_are_not() -> None:
    async with echo() as (proxy, _):
        async with connected(proxy) as ours:
            await ask(ours, b"hello\n")
            proxy.cut()
            assert await ask(ours, b"again\n") == b""
        async with connected(proxy) as ours:
            assert await ask(ours, b"new\n") == b"new\n"


async def test_new_connections_are_refused_until_it_is_mended() -> None:
    async with echo() as (proxy, _):
        proxy.cut(refuse=True)
        async with connected(proxy) as ours:
            assert await ask(ours, b"refused\n") == b""
        proxy.mend()
        async with connected(proxy) as ours:
            assert await ask(ours, b"new\n") == b"new\n"


async def test_what_is_stalled_comes_when_it_is_mended() -> None:
    async with echo() as (proxy, lines), connected(proxy) as ours:
        await ask(ours, b"hello\n")
        proxy.stall()
        answer = asyncio.create_task(ask(ours, b"stalled\n"))
        await asyncio.sleep(QUIET_SECONDS)
        assert (answer.done(), lines) == (False, [b"hello\n"])
        proxy.mend()
        assert await answer == b"stalled\n"


async def test_each_piece_is_delayed() -> None:
    async with echo() as (proxy, _), connected(proxy) as ours:
        await ask(ours, b"hello\n")
        proxy.delay = QUIET_SECONDS
        began = time.monotonic()
        assert await ask(ours, b"late\n") == b"late\n"
        assert time.monotonic() - began >= 2 * QUIET_SECONDS


@pytest.mark.parametrize("passes", [False, True], ids=["request", "answer"])
async def test_a_request_or_its_answer_is_lost(passes: bool) -> None:
    async with echo() as (proxy, lines):
        async with connected(proxy) as ours:
            sprung = (proxy.lose_answer if passes else proxy.lose_request)(b"lost")
            assert await ask(ours, b"hello\n") == b"hello\n"
            assert not sprung.is_set()
            assert await ask(ours, b"this is lost\n") == b""
            assert sprung.is_set()
        assert lines == [b"hello\n", b"this is lost\n"][: 1 + passes]
        async with connected(proxy) as ours:
            assert await ask(ours, b"lost no more\n") == b"lost no more\n"
