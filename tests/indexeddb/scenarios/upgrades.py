"""Versions of the layout: a newer tab is let through, an older one says what to do, and nobody waits for ever."""

import asyncio
import time
from typing import Any

from pymailbox import StorageUnavailableError
from tests.indexeddb.scenarios.support import (
    Settings,
    drain,
    foreign,
    new_context,
    payloads,
    raised,
    script,
)

VERSION = 5
"""As in js/storage/database.js."""

NEWER: Settings = {"layout": VERSION + 1}
IMPATIENT: Settings = {"layout": VERSION + 1, "blockedLimit": 300}


async def check_newer_tab_is_let_through_and_the_older_one_says_so() -> None:
    old = await new_context()
    mailbox = await old.open("upgraded")
    ids = [await mailbox.enqueue(b"s", b"%d" % i) for i in range(3)]
    waiting = asyncio.ensure_future((await old.open("upgraded, waiting")).dequeue(wait=60))
    await asyncio.sleep(0.1)
    new = await new_context(NEWER)
    upgraded = await asyncio.wait_for(new.open("upgraded"), 60)
    try:
        # one version at each end of the sentence, and what to do
        for call in (
            mailbox.dequeue,
            mailbox.status,
            lambda: mailbox.enqueue(b"s", b"p"),
            lambda: old.open("another"),
            old.list,
        ):
            error = await raised(call())
            assert isinstance(error, StorageUnavailableError), error
            assert f"layout {VERSION + 1}" in str(error), error
            assert f"layout {VERSION}." in str(error), error
            assert "Reload" in str(error), error
        assert isinstance(await raised(asyncio.wait_for(waiting, 20)), StorageUnavailableError)
        assert [record.id for record in await drain(upgraded)] == ids
    finally:
        await raised(mailbox.close())
        await upgraded.close()
        await _remove_database()


async def check_upgrade_in_the_middle_of_calls_loses_none_of_those_that_returned() -> None:
    old = await new_context()
    mailbox = await old.open("busy")
    stored: list[bytes] = []

    async def produce() -> BaseException:
        while True:
            payload = b"%d" % len(stored)
            try:
                await mailbox.enqueue(b"s", payload)
            except Exception as error:
                return error
            stored.append(payload)

    producing = asyncio.ensure_future(produce())
    await asyncio.sleep(0.2)
    new = await new_context(NEWER)
    upgraded = await asyncio.wait_for(new.open("busy"), 10)
    try:
        assert isinstance(await asyncio.wait_for(producing, 10), StorageUnavailableError)
        assert stored
        assert payloads(await drain(upgraded)) == stored
    finally:
        await raised(mailbox.close())
        await upgraded.close()
        await _remove_database()


async def check_blocked_upgrade_ends() -> None:
    """Another script keeps the older version open and does not close it."""
    old = await new_context()
    async with await old.open("blocked") as mailbox:
        await mailbox.enqueue(b"s", b"kept")
    new = await new_context(IMPATIENT)
    await foreign("globalThis.stubborn = await done(indexedDB.open('pymailbox'));")
    began = time.monotonic()
    error = await raised(asyncio.wait_for(new.open("blocked"), 20))
    assert isinstance(error, StorageUnavailableError), error
    assert "Close or reload" in str(error), error
    assert time.monotonic() - began < 15
    script("stubborn.close(); delete globalThis.stubborn;")
    async with await new.open("blocked") as upgraded:
        assert payloads(await upgraded.dequeue()) == [b"kept"]
    await _remove_database()


async def check_database_that_is_another_programs() -> None:
    """A database with this name without the stores: an error that says so, not a mess."""
    here = await new_context()
    for version in (1, 7):
        await _remove_database()
        await _database_of_another_program(version)
        error: Any = await raised(here.open("elsewhere"))
        assert type(error).__name__ == "StorageCorruptError", error
        assert "another program" in str(error), error
    await _remove_database()
    async with await here.open("elsewhere") as mailbox:
        assert (await mailbox.status()).queued_messages == 0


async def _database_of_another_program(version: int) -> None:
    await foreign(
        """
        db.close();
        await done(indexedDB.deleteDatabase("pymailbox"));
        await new Promise((resolve, reject) => {
          const request = indexedDB.open("pymailbox", version);
          request.onupgradeneeded = () => request.result.createObjectStore("theirs");
          request.onsuccess = () => { request.result.close(); resolve(); };
          request.onerror = () => reject(request.error);
        });
        """,
        version=version,
    )


async def _remove_database() -> None:
    await foreign("db.close(); await done(indexedDB.deleteDatabase('pymailbox'));")
