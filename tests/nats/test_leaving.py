"""What a handle holds goes back as soon as it leaves, to who waits for it on another machine: no lease has to end."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pymailbox import open_mailbox
from tests.nats.companions import Companion
from tools.nats_servers import Servers

LEASE = 600.0
WAITS = 60.0
AT_ONCE = 10.0
"""Seconds: most of them are this machine's."""

SECONDS = 0.5
"""Within which the other machine surely waits."""

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def location(servers: Servers, stream: str) -> str:
    return servers.location("inbox", stream)


@pytest.fixture
def elsewhere(location: str, tmp_path: Path) -> Iterator[Companion]:
    """A handle of another process."""
    with Companion(sys.executable, location, LEASE, tmp_path) as companion:
        yield companion


async def holding(location: str) -> Any:
    """A handle that holds a message for which the other one waits in vain."""
    mailbox = await open_mailbox(location, lease=LEASE)
    await mailbox.enqueue(b"", b"held")
    assert len(await mailbox.dequeue()) == 1
    return mailbox


async def gets_it(elsewhere: Companion, since: float) -> None:
    assert await asyncio.to_thread(elsewhere.answer) == ["held"]
    assert time.monotonic() - since < AT_ONCE


async def test_a_handle_that_is_closed(location: str, elsewhere: Companion) -> None:
    mailbox = await holding(location)
    elsewhere.say("take", WAITS)
    await asyncio.sleep(SECONDS)
    since = time.monotonic()
    await mailbox.close()
    await gets_it(elsewhere, since)


async def test_a_handle_that_is_forgotten(location: str, elsewhere: Companion) -> None:
    mailbox = await holding(location)
    elsewhere.say("take", WAITS)
    await asyncio.sleep(SECONDS)
    since = time.monotonic()
    del mailbox
    gc.collect()
    await gets_it(elsewhere, since)


def test_a_handle_whose_loop_is_closed(location: str, elsewhere: Companion) -> None:
    """Another handle of its process sees that, and says so."""
    kept = asyncio.run(holding(location))
    elsewhere.say("take", WAITS)
    time.sleep(SECONDS)

    async def look() -> None:
        since = time.monotonic()
        async with open_mailbox(location, lease=LEASE) as mailbox:
            assert await mailbox.recover() == 1
            await gets_it(elsewhere, since)

    asyncio.run(look())
    del kept
    gc.collect()  # it complains here
