"""Asks JetStream itself, beside pymailbox."""

from __future__ import annotations

import json
from typing import Any

from nats.aio.client import Client

SECONDS = 10.0


async def api(client: Client, subject: str, body: object = None) -> Any:
    """JetStream's own answer."""
    data = b"" if body is None else json.dumps(body).encode()
    return json.loads((await client.request(f"$JS.API.{subject}", data, timeout=SECONDS)).data)


async def limit(client: Client, stream: str, most: int) -> None:
    """Let a stream hold so many bytes."""
    config = (await api(client, f"STREAM.INFO.{stream}"))["config"]
    assert "error" not in await api(client, f"STREAM.UPDATE.{stream}", config | {"max_bytes": most})


async def counts(client: Client, stream: str, pattern: str) -> dict[str, int]:
    """The subjects of a pattern, with how many messages each has."""
    state = (await api(client, f"STREAM.INFO.{stream}", {"subjects_filter": pattern}))["state"]
    return dict(state.get("subjects") or {})
