"""Databases that something else made or changed: what can be rebuilt is rebuilt, and what can't is named."""

import asyncio
import itertools
from collections.abc import Sequence
from uuid import UUID

from pymailbox import Mailbox, MessagePriority, NewMessage, StorageCorruptError, StorageUnavailableError
from tests.indexeddb.scenarios.support import Context, drain, foreign, new_context, payloads, raised, script
from tests.indexeddb.scenarios.upgrades import IMPATIENT, VERSION

_NAMED, _LATE = UUID(int=71), UUID(int=72)


async def check_database_that_a_probe_has_made() -> None:
    """Opened only by its name, or with some version: without stores there is nothing to lose."""
    for version in ("", ", 1", ", 7"):
        await _replace_database(f"await done(indexedDB.open('pymailbox'{version}))")
        here = await new_context()
        async with await here.open("probed") as mailbox:
            await mailbox.enqueue(b"s", b"stored")
        # as after a reload, and again in the same page
        for context in (await new_context(), here):
            async with await context.open("probed") as mailbox:
                assert payloads(await mailbox.peek()) == [b"stored"], version
            assert await context.list() == ["probed"]
    await _replace_database()


async def check_probe_between_two_calls() -> None:
    """The data is cleared, and a probe is quicker than the mailbox: it is reported once, and then it continues."""
    here = await new_context()
    async with await here.open("probed between") as mailbox:
        await mailbox.enqueue(b"s", b"lost")
        await _replace_database("await done(indexedDB.open('pymailbox'))")
        error = await raised(mailbox.enqueue(b"s", b"not stored"))
        assert isinstance(error, StorageUnavailableError), error
        assert "cleared" in str(error), error
        await mailbox.enqueue(b"s", b"new")
        assert payloads(await mailbox.dequeue()) == [b"new"]
    await _replace_database()


async def check_tabs_that_mend_at_the_same_time() -> None:
    for lacking in ("all", "ids"):
        first = await new_context()
        if lacking == "all":
            await _replace_database("await done(indexedDB.open('pymailbox'))")
        else:
            await _delete_stores(lacking)
        contexts = [first, *[await new_context() for _ in range(3)]]
        handles = await asyncio.gather(*[context.open("at once") for context in contexts])
        await asyncio.gather(*[handle.enqueue(b"s", b"%d" % i) for i, handle in enumerate(handles)])
        assert sorted(payloads(await handles[0].peek())) == [b"0", b"1", b"2", b"3"]
        await handles[0].purge()
        for handle in handles:
            await handle.close()
    await _replace_database()


async def check_store_that_can_be_had_from_elsewhere() -> None:
    for lacking in (
        ["ids"],
        ["pages"],
        ["errors"],
        ["notes"],
        ["meta"],
        ["meta", "ids"],
        ["ids", "errors", "notes", "meta"],
    ):
        for lose in (_delete_stores, _remake_without):
            await _replace_database()
            here = await new_context()
            await _fill(here)
            await lose(*lacking)
            for context in (here, await new_context()):
                async with await context.open("lacking") as mailbox:
                    await _is_as_filled(mailbox, lacking)
                    assert not (await mailbox.storage_report()).wiped, lacking
    await _replace_database()


async def check_store_that_is_lost_again_and_again() -> None:
    """Each mending uses up a version, and the record that distinguishes it from a layout may be what is lost."""
    await _replace_database()
    here = await new_context()
    async with await here.open("again") as mailbox:
        await mailbox.enqueue(b"s", b"kept", message_id=_NAMED)
    for lacking in (["errors"], ["meta"], ["meta", "ids"], ["errors"]):
        await _delete_stores(*lacking)
        for context in (here, await new_context()):
            async with await context.open("again") as mailbox:
                await mailbox.enqueue(b"s", b"again", message_id=_NAMED)
                assert payloads(await mailbox.peek()) == [b"kept"], lacking
    await _replace_database()


async def check_store_that_cannot_be_had_from_elsewhere() -> None:
    """The error names it and says what to do; nothing that is left is touched."""
    for lacking, lose in itertools.product(
        (["mailboxes"], ["journal"], ["segments"], ["dead"], ["meta", "dead"]), (_delete_stores, _remake_without)
    ):
        await _replace_database()
        here = await new_context()
        await _fill(here)
        await lose(*lacking)
        left = await foreign("return [db.version, ...db.objectStoreNames]")
        for context in (here, await new_context()):
            for call in (lambda: context.open("lacking"), context.list):  # noqa: B023
                error = await raised(call())
                assert isinstance(error, StorageCorruptError), (lacking, error)
                assert f'"{lacking[-1]}"' in str(error), error
                assert "deleteDatabase" in str(error), error
        assert await foreign("return [db.version, ...db.objectStoreNames]") == left
        # its advice helps
        await foreign("db.close(); await done(indexedDB.deleteDatabase('pymailbox'));")
        async with await here.open("lacking") as mailbox:
            assert (await mailbox.status()).queued_messages == 0


async def check_store_that_held_nothing() -> None:
    for lacking in (["segments"], ["dead"], ["mailboxes", "segments", "dead"]):
        await _replace_database()
        here = await new_context()
        async with await here.open("held nothing") as mailbox:
            await mailbox.enqueue(b"s", b"done")
            (message,) = await mailbox.dequeue()
            assert await mailbox.ack(message.id)
        await _delete_stores(*lacking)
        async with await here.open("held nothing") as mailbox:
            await mailbox.enqueue(b"s", b"new")
            assert payloads(await mailbox.dequeue()) == [b"new"]
    await _replace_database()


async def check_mended_database_beside_other_tabs() -> None:
    """Its version is above the layout's: open connections, later ones and a newer layout all cope with that."""
    await _replace_database()
    old = await new_context()
    mailbox = await old.open("beside")
    await mailbox.enqueue(b"s", b"kept")
    await _delete_stores("errors")
    # another script that does not close it keeps it from being mended, for a bounded time
    impatient = await new_context({"blockedLimit": 300})
    await foreign("globalThis.stubborn = await done(indexedDB.open('pymailbox'));")
    error = await raised(asyncio.wait_for(impatient.open("beside"), 20))
    assert isinstance(error, StorageUnavailableError), error
    script("stubborn.close(); delete globalThis.stubborn;")
    async with await impatient.open("beside") as other:
        # the handle that was open before continues
        assert payloads(await mailbox.peek()) == payloads(await other.peek()) == [b"kept"]
        assert not (await mailbox.storage_report()).wiped
    newer = await new_context(IMPATIENT)
    async with await newer.open("beside") as upgraded:
        error = await raised(mailbox.status())
        assert isinstance(error, StorageUnavailableError), error
        assert f"layout {VERSION + 1}" in str(error), error
        assert payloads(await upgraded.dequeue()) == [b"kept"]
    await raised(mailbox.close())
    await _replace_database()


# -- help -------------------------------------------------------------------------------------------------------------


async def _fill(context: Context) -> None:
    async with await context.open("lacking", max_deliveries=3) as mailbox:
        await mailbox.enqueue_many([NewMessage(b"s", b"%d" % i) for i in range(3)])
        await mailbox.enqueue(b"s", b"named", MessagePriority.HIGH, message_id=_NAMED)
        await mailbox.enqueue(b"s", b"late", message_id=_LATE, delay=10_000)
        await mailbox.enqueue(b"s", b"later", delay=20_000)
        _, zero, one = await mailbox.dequeue(3)
        assert await mailbox.dead_letter(zero.id, "given up")
        assert await mailbox.nack(one.id, error="once")


async def _is_as_filled(mailbox: Mailbox, lacking: Sequence[str]) -> None:
    status = await mailbox.status()
    assert (status.queued_messages, status.inflight_messages, status.dead_letters) == (5, 0, 1), (lacking, status)
    assert payloads(await mailbox.peek(10)) == [b"named", b"1", b"2", b"late", b"later"], lacking
    # its id says that it exists, even for a dead letter
    (letter,) = await mailbox.dead_letters()
    for message_id in (_NAMED, _LATE, letter.record.id):
        await mailbox.enqueue(b"s", b"again", message_id=message_id)
    assert await mailbox.status() == status, lacking
    taken = await drain(mailbox)
    assert payloads(taken) == [b"named", b"1", b"2"], (lacking, taken)
    assert taken[0].id == _NAMED, lacking
    for record in taken:
        assert await mailbox.nack(record.id)
    assert await mailbox.redrive(letter.record.id)
    again = await drain(mailbox)
    assert again[-1].id == letter.record.id, lacking
    assert await mailbox.dead_letter(letter.record.id, "given up")


async def _replace_database(make: str = "undefined") -> None:
    """Deletes the database; another script may make it."""
    await foreign(
        f"""
        db.close();
        await done(indexedDB.deleteDatabase("pymailbox"));
        ({make})?.close();
        """
    )


async def _delete_stores(*names: str) -> None:
    """As another script does it."""
    await foreign(
        """
        const version = db.version + 1;
        db.close();
        const request = indexedDB.open("pymailbox", version);
        request.onupgradeneeded = () => {
          for (const name of lacking) request.result.deleteObjectStore(name);
        };
        (await done(request)).close();
        """,
        lacking=names,
    )


async def _remake_without(*names: str) -> None:
    """Recreates the database without some stores, at its first version, like a restored copy."""
    await foreign(
        """
        const kept = [...db.objectStoreNames].filter((name) => !lacking.includes(name));
        const all = await Promise.all(kept.map(async (name) => [name, await rows(name)]));
        db.close();
        await done(indexedDB.deleteDatabase("pymailbox"));
        const request = indexedDB.open("pymailbox", 1);
        request.onupgradeneeded = () => {
          for (const [name, stored] of all) {
            const store = request.result.createObjectStore(name);
            for (const { key, value } of stored) if (key !== "layout") store.put(value, key);
          }
        };
        (await done(request)).close();
        """,
        lacking=names,
    )
