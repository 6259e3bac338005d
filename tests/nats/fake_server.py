"""Something that speaks as a NATS server of another version would."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tools.serve import HOST


@asynccontextmanager
async def fake_server(refusal: str = "", **info: Any) -> AsyncIterator[str]:
    """A server that introduces itself with `info`, answers pings and nothing else; gives its HOST:PORT. With `refusal`
    it lets nobody in, and says that.
    """
    introduction = {"server_id": "FAKE", "max_payload": 1 << 20, "proto": 1, "headers": True, "jetstream": True} | info

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"INFO %s\r\n" % json.dumps(introduction).encode())
            while line := await reader.readline():
                if refusal and line.startswith(b"CONNECT"):
                    writer.write(b"-ERR '%s'\r\n" % refusal.encode())
                    break
                if line == b"PING\r\n":
                    writer.write(b"PONG\r\n")
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, HOST, 0)
    try:
        yield f"{HOST}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
