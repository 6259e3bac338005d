"""nats-py's client, without what a mailbox cannot use."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from nats.aio.client import Client
from nats.aio.transport import TcpTransport


class LinkClient(Client):
    """Sends nothing later than asked, and lives on whatever headers others have written."""

    async def _attempt_reconnect(self) -> None:
        # who asked for it gave up long before, or has sent it again
        self._pending.clear()
        self._pending_data_size = 0
        await super()._attempt_reconnect()

    async def _process_headers(self, headers: bytes) -> dict[str, str] | None:
        try:
            return await super()._process_headers(headers)
        except Exception:  # it would end the reading of all that comes after it
            return {}

    async def _connect_to_server(self, s: Any) -> None:
        if isinstance(self._transport, TcpTransport):
            # of an attempt that came no further, which would stay open until it is collected
            self._transport.close()  # type: ignore[no-untyped-call]
        # its WebSocket takes connect_timeout for something else
        async with asyncio.timeout(self.options["connect_timeout"] if s.uri.scheme in ("ws", "wss") else None):
            await super()._connect_to_server(s)

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        await super()._process_info(info, initial_connection)
        assert self._current_server is not None
        scheme = self._current_server.uri.scheme
        if scheme in ("ws", "wss"):  # what the server tells of others are addresses for WebSocket, then
            for server in self._server_pool:
                server.uri = server.uri._replace(scheme=scheme)

    def leave(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Sends messages within the call and ends the connection for now; only a page is ever left."""
