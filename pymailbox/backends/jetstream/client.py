"""nats-py's client, without what a mailbox cannot use."""

from __future__ import annotations

from nats.aio.client import Client


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
