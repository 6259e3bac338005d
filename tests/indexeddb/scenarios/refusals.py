"""What the browser refuses: requests whose transaction completes nevertheless, openings, and its other interfaces."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final
from uuid import UUID

from pymailbox import (
    ConnectionLostError,
    Mailbox,
    MailboxError,
    NewMessage,
    StorageFullError,
    StorageUnavailableError,
    UnsupportedError,
)
from pymailbox.contract.archive import WholeMessage
from tests.indexeddb.scenarios.support import (
    SEGMENTS_APART,
    drain,
    foreign,
    new_context,
    payloads,
    raised,
    script_in_force,
)

_ID: Final = UUID(int=5)


def _failing_put(store: str, passing: int = 0, *, told_late: bool = True) -> AbstractAsyncContextManager[Any]:
    """One put in a store, after some that pass, fails in the page, as in Chromium with a value that is too large.

    The database never sees it. If that is reported late, the transaction is complete without it.
    """
    return script_in_force(
        f"""() => {{
          const prototype = IDBObjectStore.prototype;
          const {{ add, put }} = prototype;
          let passing = {passing};
          const failing = (original) => function (value, key) {{
            if (this.name !== {store!r} || passing-- !== 0) return original.call(this, value, key);
            const {{ transaction }} = this;
            const error = new DOMException("refused by the test", "UnknownError");
            const request = Object.assign(new EventTarget(), {{ error, readyState: "done" }});
            const fail = () => transaction.onerror?.({{ target: request }});
            const {{ oncomplete }} = transaction;
            if ({str(told_late).lower()}) {{
              transaction.oncomplete = (event) => {{
                fail();
                oncomplete?.call(transaction, event);
              }};
            }} else {{
              fail();
            }}
            return request;
          }};
          Object.assign(prototype, {{ add: failing(add), put: failing(put) }});
          return () => {{ Object.assign(prototype, {{ add, put }}); }};
        }}"""
    )


async def _outcome(call: Awaitable[Any]) -> Any:
    """What a call returns, or the typed error that it ends with."""
    try:
        return await asyncio.wait_for(call, 60)
    except MailboxError as error:
        return error


async def _is_whole(name: str, mailbox: Mailbox, expected: list[bytes]) -> None:
    """The counts are right, each message is there with its bytes, and nothing was lost on the way."""
    assert (await mailbox.status()).dead_letters == 0, await mailbox.dead_letters()
    assert payloads(await mailbox.peek(100)) == expected
    taken = await drain(mailbox)
    assert payloads(taken) == expected, taken
    assert await mailbox.ack_many([record.id for record in taken]) == len(expected)
    status = await mailbox.status()
    assert (status.queued_messages, status.inflight_messages, status.dead_letters) == (0, 0, 0), status
    for store in ("segments", "ids", "dead", "errors"):
        left = "const id = await number(name); return (await rows(store_)).filter(({ key }) => key[0] === id).length"
        assert await foreign(left, name=name, store_=store) == 0, store


async def check_enqueue_with_a_request_that_fails_is_no_enqueue() -> None:
    """Whatever the browser says about the transaction, the call rejects, and nothing of it is there."""
    here = await new_context(SEGMENTS_APART)
    batch = [NewMessage(b"s", b"%d" % i * 30_000, message_id=UUID(int=100 + i)) for i in range(4)]
    whole = [
        WholeMessage(UUID(int=200 + i), b"s", b"w%d" % i, batch[0].priority, 0, 3, failures=1, error="e")
        for i in range(3)
    ]
    roads: dict[str, Callable[[Mailbox], Awaitable[Any]]] = {
        "enqueue": lambda mailbox: mailbox.enqueue(b"s", b"lost"),
        "named": lambda mailbox: mailbox.enqueue(b"s", b"lost", message_id=_ID),
        "batch": lambda mailbox: mailbox.enqueue_many(batch),
        "known": lambda mailbox: mailbox.enqueue(b"s", b"lost", message_id=_ID, dedupe_for=60),
        "delayed": lambda mailbox: mailbox.enqueue(b"s", b"lost", delay=1000),
        "import": lambda mailbox: mailbox._adopt(whole),  # type: ignore[attr-defined]
    }
    for road, store, passing in (
        ("enqueue", "segments", 0),
        ("enqueue", "journal", 0),
        ("named", "segments", 0),
        ("named", "ids", 0),
        ("named", "journal", 0),
        ("known", "segments", 0),
        ("known", "remembered", 0),
        ("known", "remembered", 1),
        ("known", "journal", 0),
        ("batch", "segments", 0),
        ("batch", "segments", 2),
        ("batch", "ids", 3),
        ("delayed", "journal", 0),
        ("import", "segments", 0),
        ("import", "errors", 1),
    ):
        for leased in (False, True):
            name = f"refused, {road}, {store}, {passing}, {leased}"
            async with await here.open(name) as mailbox:
                # a context that has a mailbox to itself writes without reading first
                for i in range(6 if leased else 1):
                    await mailbox.enqueue(b"s", b"before %d" % i)
                before = payloads(await mailbox.peek(100))
                async with _failing_put(store, passing):
                    outcome = await _outcome(roads[road](mailbox))
                assert isinstance(outcome, ConnectionLostError), (name, outcome)
                assert payloads(await mailbox.peek(100)) == before, name
                # and the same again is not a repetition
                assert not isinstance(await _outcome(roads[road](mailbox)), MailboxError), name
                assert (await mailbox.status()).queued_messages > len(before), name
                await mailbox.purge()
                await _is_whole(name, mailbox, [])


async def check_calls_that_share_a_commit_with_a_request_that_fails() -> None:
    """Each has failed or is complete, and nothing is half done: what was claimed in vain can be claimed again."""
    here, there = await new_context(SEGMENTS_APART), await new_context(SEGMENTS_APART)
    async with await here.open("refused, shared") as mailbox, await there.open("refused, shared") as other:
        expected = [b"%d" % i for i in range(4)]
        await mailbox.enqueue_many([NewMessage(b"s", payload) for payload in expected])
        async with _failing_put("segments"):
            claimed, *outcomes = await asyncio.gather(
                _outcome(mailbox.dequeue(2)),
                *[_outcome(mailbox.enqueue(b"s", b"%d" % i)) for i in range(4, 8)],
            )
        held = [] if isinstance(claimed, MailboxError) else claimed
        assert any(isinstance(outcome, MailboxError) for outcome in outcomes), outcomes
        expected += [b"%d" % i for i, outcome in enumerate(outcomes, 4) if not isinstance(outcome, MailboxError)]
        assert (await other.status()).inflight_messages == len(held)
        assert await mailbox.ack_many([record.id for record in held]) == len(held)
        await _is_whole("refused, shared", other, expected[len(held) :])


async def check_small_messages_survive_a_request_that_fails_as_they_are_written() -> None:
    """They leave the state for a record of their own, with a new one: that is not there, and they are."""
    here, there = await new_context(), await new_context()
    for store in ("segments", "journal"):
        for others in (0, 6):
            name = f"refused as written, {store}, {others}"
            async with await here.open(name) as mailbox:
                # a context that has a mailbox to itself writes without reading first
                for _ in range(others):
                    await mailbox.ack(await mailbox.enqueue(b"s", b"gone"))
                expected = [b"%d" % i * 1200 for i in range(3)]
                for payload in expected:
                    await mailbox.enqueue(b"s", payload)
                async with _failing_put(store):
                    outcome = await _outcome(mailbox.enqueue(b"s", b"lost" * 300))
                assert isinstance(outcome, ConnectionLostError), (name, outcome)
                async with await there.open(name) as other:
                    assert payloads(await other.peek(100)) == expected, name
                    await other.enqueue(b"s", b"new" * 400)
                await _is_whole(name, mailbox, [*expected, b"new" * 400])


async def check_request_whose_failure_is_told_in_time() -> None:
    """The transaction is ended, nothing of it is there, and each call is tried again separately."""
    here = await new_context(SEGMENTS_APART)
    async with await here.open("refused in time") as mailbox:
        await mailbox.enqueue(b"s", b"0")
        async with _failing_put("segments", told_late=False):
            await mailbox.enqueue(b"s", b"1")
        async with _failing_put("segments", 2, told_late=False):
            await asyncio.gather(*[mailbox.enqueue(b"s", b"%d" % i * 30_000) for i in range(2, 7)])
        await _is_whole("refused in time", mailbox, [b"0", b"1", *(b"%d" % i * 30_000 for i in range(2, 7))])


async def check_message_that_is_moved_is_in_one_place() -> None:
    """Sent on, given up, taken back: if a request fails, it is where it was or where it should go."""
    here = await new_context(SEGMENTS_APART)
    for verb, store in (
        ("ack_and_send", "segments"),
        ("dead_letter", "dead"),
        ("dead_letter", "ids"),
        ("last nack", "dead"),
        ("redrive", "segments"),
        ("nack", "errors"),
    ):
        name = f"moved, {verb}, {store}"
        async with (
            await here.open(name, max_deliveries=1 if verb == "last nack" else 5) as mailbox,
            await here.open(f"{name}, target") as target,
        ):
            await mailbox.enqueue(b"s", b"payload")
            (message,) = await mailbox.dequeue()
            if verb == "redrive":
                await mailbox.dead_letter(message.id, "first")
            calls: dict[str, Callable[[], Awaitable[bool]]] = {
                "ack_and_send": lambda: mailbox.ack_and_send(message.id, [(target, NewMessage(b"s", b"payload"))]),  # noqa: B023
                "dead_letter": lambda: mailbox.dead_letter(message.id, "given up"),  # noqa: B023
                "last nack": lambda: mailbox.nack(message.id, error="failed"),  # noqa: B023
                "redrive": lambda: mailbox.redrive(message.id),  # noqa: B023
                "nack": lambda: mailbox.nack(message.id, error="failed"),  # noqa: B023
            }
            async with _failing_put(store):
                outcome = await _outcome(calls[verb]())
            assert outcome is True or isinstance(outcome, MailboxError), (name, outcome)
            letters = [letter.record for letter in await mailbox.dead_letters()]
            found = payloads([*letters, *await mailbox.peek(10), *await target.peek(10)])
            assert found == [b"payload"], (name, outcome, found)


async def check_text_that_is_too_large_for_the_browser() -> None:
    """It is kept, or refused with nothing done."""
    here = await new_context()
    async with await here.open("large text") as mailbox:
        await mailbox.enqueue(b"s", b"p")
        for _ in range(2):
            (message,) = await mailbox.dequeue()
            try:
                assert await mailbox.nack(message.id, error="x" * 140_000_000)
            except (UnsupportedError, ValueError):
                assert await mailbox.nack(message.id, error="shorter")
        assert (await mailbox.status()).dead_letters == 0
        assert payloads(await mailbox.dequeue()) == [b"p"]


# -- opening ----------------------------------------------------------------------------------------------------------


def _failing_open(name: str) -> AbstractAsyncContextManager[Any]:
    return script_in_force(
        f"""() => {{
          const {{ open }} = IDBFactory.prototype;
          IDBFactory.prototype.open = () => {{
            const request = {{ error: new DOMException("as the test has it", {name!r}) }};
            setTimeout(() => request.onerror?.({{ target: request }}));
            return request;
          }};
          return () => {{ IDBFactory.prototype.open = open; }};
        }}"""
    )


async def check_more_than_one_array_holds_is_shown_in_parts() -> None:
    """As many as fit, in any section, one at least; what is passed over counts for nothing."""
    here = await new_context({"shownBytes": 10_000})
    async with await here.open("shown in parts") as mailbox:
        for i in range(4):
            await mailbox.enqueue(b"s", b"%d" % i + bytes(3000))
        for i in range(4, 8):
            await mailbox.enqueue(b"s", b"%d" % i + bytes(3000), delay=1000 + i)
        await mailbox.dequeue(2)
        order = b"23456701"

        async def shown(offset: int) -> bytes:
            return b"".join(record.payload[:1] for record in await mailbox.peek(100, offset=offset))

        for offset in range(8):
            assert await shown(offset) == order[offset : offset + 3], offset
        for record in await mailbox.dequeue():
            assert await mailbox.dead_letter(record.id, "r")
        for i in (8, 9):
            await mailbox.enqueue(b"s", b"%d" % i + bytes(20_000))
            (record,) = await mailbox.dequeue()
            assert await mailbox.dead_letter(record.id, "r")
        parts = [[letter.record.payload[:1] for letter in await mailbox.dead_letters(offset=at)] for at in range(4)]
        assert parts == [[b"9"], [b"8"], [b"3", b"2"], [b"2"]], parts


async def check_what_is_shown_with_a_payload_counts_towards_what_fits() -> None:
    here = await new_context({"shownBytes": 10_000})
    async with await here.open("shown with senders") as mailbox:
        for _ in range(9):
            await mailbox.enqueue(bytes(6000), b"")
        assert len(await mailbox.peek(100)) == 1
    async with await here.open("shown with reasons") as mailbox:
        for i in range(9):
            await mailbox.enqueue(b"s", b"")
            (record,) = await mailbox.dequeue()
            assert await mailbox.dead_letter(record.id, "r" * (6000 if i < 3 else 1000))
        assert [len(await mailbox.dead_letters(offset=at)) for at in (0, 5, 6, 8)] == [6, 2, 1, 1]


async def check_store_that_does_not_open_says_what_to_do() -> None:
    here = await new_context()
    for name, kind, advice in (
        ("UnknownError", StorageUnavailableError, "the disk has room"),
        ("InvalidStateError", StorageUnavailableError, "reload the page"),
        ("AbortError", StorageUnavailableError, "open it again"),
        ("TimeoutError", StorageUnavailableError, "reload the page"),
        ("QuotaExceededError", StorageFullError, "free some space"),
        ("SecurityError", StorageUnavailableError, "let this site store data"),
    ):
        async with _failing_open(name):
            for call in (lambda: here.open("not opened"), here.list, lambda: here.delete("not opened")):
                error = await raised(call())
                assert type(error) is kind, (name, error)
                assert advice in str(error), (name, error)
                assert f"{name}: as the test has it" in str(error), error
                # only the error that private browsing can cause mentions it
                assert ("rivate" in str(error)) == (name == "SecurityError"), error
    async with await here.open("not opened") as mailbox:
        assert (await mailbox.status()).queued_messages == 0


async def check_upgrade_that_finds_no_room_says_so() -> None:
    """The request only says that the upgrade was ended; the transaction says why."""
    await foreign("db.close(); await done(indexedDB.deleteDatabase('pymailbox'));")
    here = await new_context()
    async with script_in_force(
        """() => {
          const { put } = IDBObjectStore.prototype;
          IDBObjectStore.prototype.put = function (value, key) {
            if (key === "reserve") throw new DOMException("no room", "QuotaExceededError");
            return put.call(this, value, key);
          };
          return () => { IDBObjectStore.prototype.put = put; };
        }"""
    ):
        error = await raised(here.open("no room"))
    assert isinstance(error, StorageFullError), error
    async with await here.open("no room") as mailbox:
        assert (await mailbox.status()).queued_messages == 0


async def check_full_disk_that_is_met_several_times_before_there_is_room() -> None:
    """In Firefox the first transaction after one that found the disk full may only delete."""
    async with await (await new_context()).open("full at times") as mailbox:
        await mailbox.enqueue(b"s", b"p")
        (record,) = await mailbox.dequeue(1)
        async with script_in_force(
            """() => {
              const { add } = IDBObjectStore.prototype;
              const { transaction } = IDBDatabase.prototype;
              let left = 4;
              const [found, onlyDeletes] = [new WeakSet(), new WeakSet()];
              IDBDatabase.prototype.transaction = function (...rest) {
                const begun = transaction.apply(this, rest);
                if (begun.mode === "readwrite" && found.delete(this)) onlyDeletes.add(begun);
                return begun;
              };
              IDBObjectStore.prototype.add = function (...rest) {
                if (onlyDeletes.has(this.transaction)) throw new DOMException("no mutations", "InvalidStateError");
                if (this.name !== "journal" || left === 0) return add.apply(this, rest);
                left -= 1;
                if ("InternalError" in globalThis) found.add(this.transaction.db);
                throw new DOMException("no room", "QuotaExceededError");
              };
              return () => {
                IDBObjectStore.prototype.add = add;
                IDBDatabase.prototype.transaction = transaction;
              };
            }"""
        ):
            assert await mailbox.ack(record.id)
        assert (await mailbox.status()).inflight_messages == 0


# -- other interfaces of the browser ----------------------------------------------------------------------------------


async def check_no_channel_to_others() -> None:
    async with script_in_force(
        """() => {
          const { BroadcastChannel } = globalThis;
          globalThis.BroadcastChannel = class {
            constructor() { throw new DOMException("not allowed in this context", "SecurityError"); }
          };
          return () => { globalThis.BroadcastChannel = BroadcastChannel; };
        }"""
    ):
        here = await new_context()
        async with await here.open("no channel") as mailbox, await here.open("no channel") as other:
            waiting = asyncio.ensure_future(other.dequeue(wait=30))
            await asyncio.sleep(0)
            await mailbox.enqueue(b"s", b"p")
            assert payloads(await waiting) == [b"p"]


async def check_storage_that_tells_nothing() -> None:
    here = await new_context()
    async with (
        await here.open("tells nothing") as mailbox,
        script_in_force(
            """() => {
              const prototype = globalThis.StorageManager?.prototype ?? {};
              const originals = ["estimate", "persisted", "persist"].map((verb) => [verb, prototype[verb]]);
              for (const [verb] of originals) {
                prototype[verb] = async () => { throw new TypeError("not allowed in this context"); };
              }
              return () => {
                for (const [verb, original] of originals) {
                  if (original) prototype[verb] = original;
                  else delete prototype[verb];
                }
              };
            }"""
        ),
    ):
        report = await mailbox.storage_report()
        assert (report.persistent, report.usage, report.quota) == (None, None, None), report
        assert isinstance(await raised(mailbox.request_persistence()), UnsupportedError)
