"""A full origin, in steps: nothing new is stored, everything else works, and with room it recovers by itself.

The caller has given the origin a small quota; `fill` uses up the rest of it.
"""

import asyncio
from random import Random
from typing import Any

from pymailbox import Mailbox, NewMessage, StorageFullError
from tests.indexeddb.scenarios.support import drain, foreign, new_context, payloads, raised, script

_FILL = """
async () => {
  const done = (request) => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  const open = () => {
    const request = indexedDB.open("filler", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("bytes", { autoIncrement: true });
    return done(request);
  };
  const noise = (size) => {
    const bytes = new Uint8Array(size);
    for (let at = 0; at < size; at += 65536) crypto.getRandomValues(bytes.subarray(at, at + 65536));
    return bytes;
  };
  for (let size = 1 << 20; size >= 1 << 10; size >>= 1) {
    for (let stored = true; stored; ) {
      // a new connection each time: Firefox spoils one that meets the quota
      const db = await open();
      const transaction = db.transaction("bytes", "readwrite");
      transaction.objectStore("bytes").put(noise(size));
      stored = await new Promise((resolve) => {
        transaction.oncomplete = () => resolve(true);
        transaction.onabort = () => resolve(false);
      });
      db.close();
    }
  }
}
"""

LARGE = Random(0).randbytes(1024 * 1024)
"""Payload of a message for which there is no room, even without the backlog. Like all payloads here it is random, since
browsers compress."""


LARGER = LARGE * 8
"""Payload of a message that could not be moved even into all the room that can be made."""


class Full:
    """The steps, and their state in between."""

    mailbox: Mailbox
    other: Mailbox
    patient: Mailbox
    """On the same one, without a limit of deliveries."""

    async def prepare(self, name: str) -> None:
        """A backlog, some of it in flight."""
        context = await new_context()
        self.mailbox = await context.open(name, max_deliveries=3)
        self.other = await context.open(f"{name}, other")
        self.patient = await context.open(name)
        await self.mailbox.enqueue_many([NewMessage(b"s", b"%03d" % i + Random(i).randbytes(4096)) for i in range(120)])
        self.held = await self.mailbox.dequeue(20)

    async def fill(self) -> None:
        await script(_FILL)()

    async def make_room(self) -> None:
        await script("""() => new Promise((resolve, reject) => {
            const request = indexedDB.deleteDatabase("filler");
            request.onsuccess = () => resolve();
            request.onerror = () => reject(request.error);
        })""")()

    async def nothing_new_is_stored(self) -> None:
        before = await self.mailbox.status()
        for _ in range(3):
            error = await raised(self.mailbox.enqueue(b"s", LARGE))
            assert isinstance(error, StorageFullError), error
            assert "full" in str(error), error
        send = self.mailbox.ack_and_send(self.held[0].id, [(self.other, NewMessage(b"s", LARGE))])
        assert isinstance(await raised(send), StorageFullError)
        assert await self.mailbox.status() == before
        assert (await self.other.status()).queued_messages == 0

    async def what_little_becomes_a_dead_letter_does(self) -> None:
        assert await self.mailbox.dead_letter(self.held.pop().id, "given up")

    async def the_rest_goes_on(self) -> None:
        acked, nacked, *held = self.held
        assert await self.mailbox.ack(acked.id)
        assert await self.mailbox.nack(nacked.id, error="not now")
        (again,) = await self.mailbox.dequeue(1)
        assert again.id == nacked.id
        # many of them, one after the other
        for message in held[:-1]:
            assert await self.mailbox.ack(message.id)
        more = await self.mailbox.dequeue(40)
        assert [record.payload[:3] for record in more] == [b"%03d" % i for i in range(20, 60)]
        assert await self.mailbox.ack_many([record.id for record in more[:30]]) == 30
        for message in more[30:]:
            assert await self.mailbox.nack(message.id, delay=3600)
        self.held = [held[-1], again]

    async def it_goes_on_when_the_reserve_is_used_up(self) -> None:
        """Each small write takes some room until the browser tidies up; no reserve is enough for all of them."""
        for _ in range(400):
            (message,) = await self.patient.dequeue(1)
            assert message.payload[:3] == b"060"
            assert await self.patient.nack(message.id)

    async def calls_that_share_the_failed_commit_fail_alone(self) -> None:
        last, again = self.held
        larger = LARGE * 12  # than all that the browser may have freed by now
        results: list[Any] = await asyncio.gather(
            self.mailbox.ack(last.id),
            self.mailbox.enqueue(b"s", larger),
            self.mailbox.nack(again.id),
            self.mailbox.enqueue(b"s", larger),
            self.mailbox.dequeue(1),
            return_exceptions=True,
        )
        assert (results[0], results[2]) == (True, True), results
        assert isinstance(results[1], StorageFullError), results
        assert isinstance(results[3], StorageFullError), results
        assert [record.id for record in results[4]] == [again.id], results

    async def with_room_it_works_again(self) -> None:
        await self.mailbox.enqueue(b"s", b"new" + LARGE)
        # and the reserve is back, for the next time
        assert await foreign("return (await done(store('meta').get('reserve')))?.length > 0")
        seen = [payload[:3] for payload in payloads(await drain(self.mailbox))]
        assert seen == [*(b"%03d" % i for i in range(60, 120)), b"new"], seen
        await self.mailbox.close()
        await self.other.close()
        await self.patient.close()

    async def what_has_no_room_as_a_dead_letter_is_queued_instead(self) -> None:
        """Or nobody could open the mailbox, since opening it takes back what the dead held."""
        here, there = await new_context(), await new_context()
        dying = await here.open("dying", max_deliveries=1)
        await dying.enqueue(b"s", LARGER)
        await dying.dequeue()
        await dying.enqueue(b"s", b"behind it")
        await self.fill()
        dying._die()
        async with await there.open("dying", max_deliveries=1) as mailbox:
            (message,) = await mailbox.dequeue()  # the other one waits, so that no consumer dies of it again and again
            assert message.payload == b"behind it"
            assert await mailbox.ack(message.id)
            assert await mailbox.promote() == 1
            (message,) = await mailbox.dequeue()
            assert isinstance(await raised(mailbox.dead_letter(message.id, "given up")), StorageFullError)
            assert await mailbox.nack(message.id) is True
            stats = await mailbox.status()
            assert (stats.queued_messages, stats.dead_letters) == (1, 0), stats
            (message,) = await mailbox.dequeue()
            await self.make_room()
            assert await mailbox.nack(message.id) is True
            assert len(await mailbox.dead_letters()) == 1
