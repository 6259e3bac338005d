"""Connections that close or are lost are reopened, a bounded number of times. No silent success, nothing twice."""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import UUID

from pymailbox import ConnectionLostError, StorageUnavailableError
from pymailbox.backends.indexeddb import loader
from tests.indexeddb.scenarios.support import (
    PATIENCE,
    Context,
    busy_storage,
    drain,
    foreign,
    new_context,
    payloads,
    raised,
    script,
    script_in_force,
)

RECONNECTIONS = 3
"""As in js/storage/database.js."""


def _closing_transactions(times: int) -> AbstractAsyncContextManager[Any]:
    """That many of the next transactions cannot begin, as in WebKit: the connection is closing."""
    return script_in_force(
        f"""() => {{
          let left = {times};
          const original = IDBDatabase.prototype.transaction;
          IDBDatabase.prototype.transaction = function (...rest) {{
            if (left-- > 0) throw new DOMException("The database connection is closing.", "InvalidStateError");
            return original.apply(this, rest);
          }};
          return () => {{ IDBDatabase.prototype.transaction = original; }};
        }}"""
    )


def _dying_transactions(times: int, *, after_commit: bool) -> AbstractAsyncContextManager[Any]:
    """That many of the next commits are reported as aborted: really undone, or committed nevertheless."""
    return script_in_force(
        f"""() => {{
          let left = {times};
          const prototype = IDBTransaction.prototype;
          const commit = prototype.commit;
          prototype.commit = function () {{
            if (left-- <= 0) return commit.call(this);
            if (!{str(after_commit).lower()}) return this.abort();
            this.oncomplete = this.onabort;
            return commit.call(this);
          }};
          return () => {{ prototype.commit = commit; }};
        }}"""
    )


async def _committing_context() -> Context:
    """One that asks for its commits even in Firefox, so that something can happen to them."""
    return await new_context({"asksToCommit": True})


async def check_connection_that_is_closing_is_opened_again() -> None:
    here = await new_context()
    async with await here.open("closing") as mailbox:
        for times in range(1, RECONNECTIONS + 1):
            async with _closing_transactions(times):
                await mailbox.enqueue(b"s", b"%d" % times)
        assert payloads(await drain(mailbox)) == [b"1", b"2", b"3"]
        async with _closing_transactions(RECONNECTIONS):
            assert (await mailbox.status()).inflight_messages == 3


async def check_connection_that_stays_lost_is_a_typed_error() -> None:
    here = await new_context()
    mailbox = await here.open("stays lost")
    await mailbox.enqueue(b"s", b"before")
    async with _closing_transactions(1000):
        for call in (
            mailbox.dequeue,
            mailbox.status,
            mailbox.peek,
            mailbox.recover,
            lambda: mailbox.enqueue(b"s", b"lost"),
            lambda: mailbox.dequeue(wait=1000),
            lambda: here.open("stays lost"),
            lambda: here.open("never was"),
            here.list,
        ):
            error = await raised(asyncio.wait_for(call(), 10))
            assert isinstance(error, ConnectionLostError), error
            assert "closing" in str(error), error
    # and then it continues by itself
    assert payloads(await mailbox.dequeue()) == [b"before"]
    await mailbox.close()
    assert "never was" not in await here.list()


async def check_opening_does_not_wait_for_ever_for_transactions_that_do_not_end() -> None:
    """As WebKit may have it where it keeps a page that was left amid a transaction."""
    async with await (await new_context()).open("held up") as mailbox:
        await mailbox.enqueue(b"s", b"p")
    late = await new_context({"answerLimit": 300})
    async with busy_storage():
        error = await raised(late.open("held up"))
        assert isinstance(error, StorageUnavailableError)
        assert error.passing
        assert "does not answer" in str(error)
    async with await late.open("held up") as mailbox:
        assert payloads(await drain(mailbox)) == [b"p"]


async def check_close_on_a_lost_connection_releases_all_the_same() -> None:
    here = await new_context()
    mailbox = await here.open("close when lost")
    await mailbox.enqueue(b"s", b"held")
    await mailbox.dequeue()
    async with _closing_transactions(1000):
        assert isinstance(await raised(mailbox.close()), ConnectionLostError)
    async with await here.open("close when lost") as other:
        (message,) = await other.dequeue(wait=5)
        assert message.payload == b"held"


async def check_commit_that_was_undone_is_repeated() -> None:
    here = await _committing_context()
    async with await here.open("undone") as mailbox:
        for times in range(1, RECONNECTIONS + 1):
            async with _dying_transactions(times, after_commit=False):
                await mailbox.enqueue(b"s", b"%d" % times)
        assert payloads(await drain(mailbox)) == [b"1", b"2", b"3"]


async def check_commit_that_cannot_be_is_an_error_and_nothing_is_stored() -> None:
    here = await _committing_context()
    async with await here.open("never commits") as mailbox:
        await mailbox.enqueue(b"s", b"before")
        async with _dying_transactions(1000, after_commit=False):
            assert isinstance(await raised(mailbox.enqueue(b"s", b"lost")), ConnectionLostError)
            assert isinstance(await raised(mailbox.dequeue()), ConnectionLostError)
        status = await mailbox.status()
        assert (status.queued_messages, status.inflight_messages) == (1, 0), status
        assert payloads(await mailbox.dequeue()) == [b"before"]


async def check_commit_whose_answer_was_lost_is_not_repeated() -> None:
    """The database shows that it was committed: one message, one answer, and the right one."""
    here = await _committing_context()
    async with await here.open("answer lost") as mailbox:
        # with and without a write lease
        for i in range(8):
            async with _dying_transactions(1, after_commit=True):
                message_id = await mailbox.enqueue(b"s", b"%d" % i)
            assert (await mailbox.status()).queued_messages == i + 1
            assert (await mailbox.peek(20))[-1].id == message_id
        async with _dying_transactions(1, after_commit=True):
            messages = await mailbox.dequeue(3)
        assert payloads(messages) == [b"0", b"1", b"2"]
        for message in messages:
            async with _dying_transactions(1, after_commit=True):
                assert await mailbox.ack(message.id)
        async with _dying_transactions(1, after_commit=True):
            assert not await mailbox.ack(messages[0].id)
        assert payloads(await drain(mailbox)) == [b"3", b"4", b"5", b"6", b"7"]


NOBODY_TELLS = """() => {
  const prototype = IDBTransaction.prototype;
  const commit = prototype.commit;
  let armed = true;
  prototype.commit = function () {
    if (!armed || this.mode !== "readwrite") return commit.call(this);
    armed = false;
    const lost = this.onabort;
    const { db } = this;
    this.oncomplete = () => {
      const between = db.transaction("journal", "readwrite");
      const store = between.objectStore("journal");
      // the newest mailbox is the one
      store.openCursor(null, "prev").onsuccess = ({ target: { result: { key, value } } }) => {
        const [number, version] = key;
        store.delete(key);
        store.add({ ...value, commitId: 2 }, [number, version + 1]);
      };
      between.oncomplete = lost;
    };
    commit.call(this);
  };
  return () => { prototype.commit = commit; };
}"""
"""The next commit is lost with its connection, and another context has written since."""


async def check_commit_of_which_nothing_tells_is_an_error_and_never_repeated() -> None:
    """Another context wrote meanwhile, so the commit id is gone: an error, since repeating it might store it twice."""
    here, there = await _committing_context(), await _committing_context()
    async with await here.open("nobody knows") as mailbox, await there.open("nobody knows") as other:
        await mailbox.enqueue(b"s", b"before")
        async with script_in_force(NOBODY_TELLS):
            error = await raised(mailbox.enqueue(b"s", b"who knows", message_id=UUID(int=77)))
        assert isinstance(error, ConnectionLostError), error
        # repeating it with the same id is safe, as the contract says
        await mailbox.enqueue(b"s", b"who knows", message_id=UUID(int=77))
        assert payloads(await drain(other)) == [b"before", b"who knows"]


async def check_claim_of_which_nothing_tells_goes_back() -> None:
    """Its caller has nothing, and its handle lives: nobody else could ever get it."""
    here, there = await _committing_context(), await _committing_context()
    async with await here.open("claimed by nobody") as mailbox, await there.open("claimed by nobody") as other:
        await mailbox.enqueue(b"s", b"p")
        async with script_in_force(NOBODY_TELLS):
            error = await raised(mailbox.dequeue())
        assert isinstance(error, ConnectionLostError), error
        (record,) = await other.dequeue(wait=PATIENCE)
        assert record.delivery_count == 1


async def check_calls_that_share_a_lost_commit_all_come_through_once() -> None:
    here = await _committing_context()
    async with await here.open("shared") as mailbox:
        await asyncio.gather(*[mailbox.enqueue(b"s", b"first %d" % i) for i in range(10)])
        for after_commit in (False, True):
            async with _dying_transactions(2, after_commit=after_commit):
                await asyncio.gather(*[mailbox.enqueue(b"s", b"%d" % i) for i in range(20)])
        seen = payloads(await drain(mailbox))
        assert seen == [b"first %d" % i for i in range(10)] + 2 * [b"%d" % i for i in range(20)], seen


async def check_mailboxes_that_are_opened_at_once_share_one_engine() -> None:
    """Two would be like two tabs to each other, as long as the page lives."""
    before, loader._loaded = loader._loaded, None
    try:
        opened = [asyncio.ensure_future(loader.load_engine()) for _ in range(3)]
        await asyncio.sleep(0)
        opened[0].cancel()
        await asyncio.wait(opened)
        assert opened[0].cancelled()
        one, other = await opened[1], await opened[2]
        assert one.js_id == other.js_id == (await loader.load_engine()).js_id
    finally:
        loader._loaded = before


async def check_site_data_cleared_is_told_once_to_each_handle() -> None:
    here = await new_context()
    mailbox, other, second = await here.open("cleared"), await here.open("cleared"), await here.open("also cleared")
    await mailbox.enqueue(b"s", b"lost")
    await other.dequeue()
    await _delete_database()
    error = await raised(mailbox.enqueue(b"s", b"not stored"))
    assert isinstance(error, StorageUnavailableError), error
    assert "cleared" in str(error), error
    assert isinstance(await raised(other.dequeue()), StorageUnavailableError)
    assert isinstance(await raised(second.status()), StorageUnavailableError)
    # reported once, then an empty mailbox that works
    for handle in (mailbox, other, second):
        assert (await handle.status()).queued_messages == 0
        assert await handle.dequeue() == []
        assert (await handle.storage_report()).wiped
    await mailbox.enqueue(b"s", b"new")
    assert payloads(await other.dequeue()) == [b"new"]
    assert await here.list() == ["cleared"]
    async with await here.open("cleared") as fresh:
        assert not (await fresh.storage_report()).wiped
    for handle in (mailbox, other, second):
        await handle.close()


async def check_site_data_cleared_under_a_waiting_dequeue() -> None:
    here = await new_context()
    async with await here.open("cleared while waiting") as mailbox:
        waiting = asyncio.ensure_future(mailbox.dequeue(wait=60))
        await asyncio.sleep(0.1)
        await _delete_database()
        error = await raised(asyncio.wait_for(waiting, 20))
        assert isinstance(error, StorageUnavailableError), error
        await mailbox.enqueue(b"s", b"new")
        assert payloads(await mailbox.dequeue()) == [b"new"]


async def check_site_data_cleared_between_two_openings_is_reported() -> None:
    """Every context notices within a page's life; across a reload a page does, whose localStorage outlives
    IndexedDB."""
    here = await new_context()
    async with await here.open("cleared between") as mailbox:
        assert not (await mailbox.storage_report()).wiped
    await _delete_database()
    async with await here.open("cleared between") as mailbox:
        assert (await mailbox.storage_report()).wiped
    async with await here.open("cleared between") as mailbox:
        assert not (await mailbox.storage_report()).wiped
    await _delete_database()
    reloaded = await new_context()
    async with await reloaded.open("cleared between") as mailbox:
        in_a_page = await foreign("return typeof document !== 'undefined'")
        assert (await mailbox.storage_report()).wiped is in_a_page


async def check_ids_of_a_cleared_database_mean_nothing_in_the_next() -> None:
    """Numbers start again there: neither an old id nor what is in memory may reach a new message."""
    here = await new_context()
    async with await here.open("begins anew") as mailbox:
        old = [await mailbox.enqueue(b"s", b"old %d" % i) for i in range(3)]
        await _delete_database()
        await raised(mailbox.status())
        new = [await mailbox.enqueue(b"s", b"new %d" % i) for i in range(3)]
        assert set(old).isdisjoint(new)
        assert await mailbox.ack_many(old) == 0
        assert payloads(await drain(mailbox)) == [b"new 0", b"new 1", b"new 2"]


async def check_connection_closed_by_the_browser() -> None:
    """A `close` event, and a connection that closes in the middle of calls."""
    here = await new_context()
    async with (
        script_in_force(
            """() => {
          const opened = (globalThis.openedByTest = []);
          const prototype = IDBFactory.prototype;
          const open = prototype.open;
          prototype.open = function (...rest) {
            const request = open.apply(this, rest);
            request.addEventListener("success", () => opened.push(request.result));
            return request;
          };
          return () => {
            prototype.open = open;
            delete globalThis.openedByTest;
          };
        }"""
        ),
        await here.open("closed by the browser") as mailbox,
    ):
        close = "for (const db of openedByTest) { db.close(); db.dispatchEvent(new Event('close')); }"
        for i in range(3):
            await foreign(close)
            await mailbox.enqueue(b"s", b"%d" % i)
        calls = [asyncio.ensure_future(mailbox.enqueue(b"s", b"%d" % i)) for i in range(3, 40)]
        # no more often than a call that meets each of them tries again
        for _ in range(RECONNECTIONS):
            await foreign(close)
        await asyncio.gather(*calls)
        assert payloads(await drain(mailbox)) == [b"%d" % i for i in range(40)]


async def _delete_database() -> None:
    """What "clear site data" does to a database: `versionchange` to all connections, then it is gone."""
    await foreign(
        """
        db.close();
        await new Promise((resolve, reject) => {
          const request = indexedDB.deleteDatabase("pymailbox");
          request.onsuccess = resolve;
          request.onerror = () => reject(request.error);
        });
        """
    )


async def check_mailbox_can_be_deleted_at_once_when_it_is_closed() -> None:
    """Also if what its context does by itself, as after a page's note, finds that nobody uses the database any more."""
    here = await new_context()
    leave_note = script(
        "(mailbox) => new BroadcastChannel('pymailbox').postMessage({ mailbox, notes: [['somebody', mailbox]] })"
    )
    for i in range(40):
        name = f"closed and deleted {i}"
        mailbox = await here.open(name)
        leave_note(name)
        await asyncio.sleep(i % 8 / 1000)
        await mailbox.close()
        assert await here.delete(name)
