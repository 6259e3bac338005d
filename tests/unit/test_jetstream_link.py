"""The connection to a stream's servers, with a client that does as it is told."""

from __future__ import annotations

import traceback
from typing import Any

import pytest

pytest.importorskip("nats")

from pymailbox import StorageUnavailableError
from pymailbox.backends.jetstream.link import Link
from pymailbox.backends.jetstream.location import Address
from pymailbox.contract.location import Connect


def link_to_nowhere(monkeypatch: pytest.MonkeyPatch) -> tuple[Link, Any]:
    """As if it were connected; and its client."""
    link = Link(Address(("nats://localhost:4222",), "s", None), Connect({}), None)
    link._nc._status = link._nc.CONNECTED
    link._inbox = "_INBOX.me"
    return link, link._nc


async def test_why_no_answer_can_come_is_told_each_time_as_if_for_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    link, _ = link_to_nowhere(monkeypatch)
    await link._on_error(Exception('nats: permissions violation for subscription to "_inbox.me.*"'))
    told = []
    for _ in range(3):
        with pytest.raises(StorageUnavailableError, match="inbox_prefix") as raised:
            await link.ask("subject")
        told.append(len(traceback.extract_tb(raised.value.__traceback__)))
    assert len(set(told)) == 1
