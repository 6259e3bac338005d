"""What a relay promises beyond the conformance suite: between backends, with small mailboxes, by its clock."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from pymailbox import (
    Capability,
    Mailbox,
    MailboxClosedError,
    MailboxError,
    MemoryMailbox,
    MessageRecord,
    RelayStatus,
    RetryPolicy,
    StorageCorruptError,
    StorageUnavailableError,
    UnsupportedError,
    _open,
    list_mailboxes,
    open_mailbox,
    relay,
)
from pymailbox.contract.limits import EARLIEST, LATEST
from pymailbox.relaying import loop
from pymailbox.relaying.cursor import pack_sent, unpack_sent
from pymailbox.testing import Fault, FaultKind, FaultyMailbox
from pymailbox.testing._expect import eventually
from tests.unit.example_mailboxes import Database, SeedMailbox, SmallMailbox

SOON = RetryPolicy(first_delay=0.001, longest_delay=0.005)


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("pymailbox"), "disabled", True)


@asynccontextmanager
async def relaying(source: Mailbox, target: Mailbox, **options: Any) -> AsyncIterator[Any]:
    task = asyncio.ensure_future(one := relay(source, target, **{"retry": SOON} | options))
    try:
        yield one
    finally:
        one.stop()
        await task


async def payloads(mailbox: Mailbox) -> list[bytes]:
    return [record.payload for record in await mailbox.peek(1000)]


async def arrive(target: Mailbox, *wanted: bytes) -> None:
    async def there() -> list[bytes]:
        return await payloads(target)

    await eventually(there, list(wanted), "messages of the target")


def places(tmp_path: Path) -> dict[str, str]:
    return {"memory": f"memory://{uuid4()}", "sqlite": f"sqlite:///{tmp_path / uuid4().hex}.db#box"}


@pytest.mark.parametrize("there", ["memory", "sqlite"])
@pytest.mark.parametrize("here", ["memory", "sqlite"])
async def test_from_any_backend_to_any_other(here: str, there: str, tmp_path: Path) -> None:
    here, there = places(tmp_path)[here], places(tmp_path)[there]
    async with open_mailbox(here) as source, open_mailbox(there) as target:
        ids = [await source.enqueue(b"a", b"1"), await source.enqueue(b"b", b"2", message_id=uuid4())]
        async with relaying(source, target):
            await arrive(target, b"1", b"2")
        assert [record.id for record in await target.peek()] == ids
        assert (await source.status()).inflight_messages == 0


async def test_core_verbs_of_a_source_are_enough(tmp_path: Path) -> None:
    source = await Database(SeedMailbox).open("seed")
    async with open_mailbox(places(tmp_path)["sqlite"]) as target:
        for number in range(25):
            await source.enqueue(b"", b"%d" % number)
        faulty = FaultyMailbox(target, beside=[Fault(FaultKind.LOST_BEFORE, "ack_and_send", nth=2, times=3)])
        async with relaying(source, faulty):  # which keeps what cannot be given back
            await arrive(target, *(b"%d" % number for number in range(25)))
        await source.close()


class Naive(SmallMailbox):
    """Its records are created at times without a time zone."""

    def shown(self, record: MessageRecord) -> MessageRecord:
        return replace(record, created_at=record.created_at.replace(tzinfo=None))

    async def dequeue(self, limit: int | None = None, *, wait: float | None = None, ack: Any = ()) -> Any:
        return [self.shown(record) for record in await super().dequeue(limit, wait=wait, ack=ack)]

    async def get(self, message_id: UUID) -> Any:
        found = await super().get(message_id)
        return self.shown(found) if isinstance(found, MessageRecord) else found


async def test_times_without_a_zone_are_taken_for_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is refused for them, and what a cursor lists is found again."""
    monkeypatch.setattr(loop, "LOOK_EVERY", 0.01)
    source = await Database(Naive).open("naive")
    fault = Fault(FaultKind.LOST_AFTER, "ack_and_send", nth=2)
    async with FaultyMailbox(await open_mailbox(f"memory://{uuid4()}"), beside=[fault]) as target:
        for payload in (b"1", b"2", b"3"):
            await source.enqueue(b"", payload)
        async with relaying(source, target, batch=2):
            got: list[bytes] = []
            async with asyncio.timeout(5):
                while len(got) < 3:  # and the ids are in the target no more
                    records = await target.dequeue(wait=5.0)
                    got += [record.payload for record in records]
                    await target.ack_many([record.id for record in records])
        assert got == [b"1", b"2", b"3"]
        assert await payloads(target) == []
        assert (await source.status()).dead_letters == 0
    await source.close()


class Timeless(SmallMailbox):
    """Its records are created at no time."""

    time: Any

    async def dequeue(self, limit: int | None = None, *, wait: float | None = None, ack: Any = ()) -> Any:
        records = await super().dequeue(limit, wait=wait, ack=ack)
        return [replace(record, created_at=self.time) for record in records]


@pytest.mark.parametrize("time", [1767323045.6, None])
async def test_source_whose_times_are_none_is_told_so(time: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the source's fault, and no message's: none becomes a dead letter."""
    monkeypatch.setattr(Timeless, "time", time, raising=False)
    source = await Database(Timeless).open("timeless")
    async with open_mailbox("memory://") as target:
        await source.enqueue(b"", b"1")
        with pytest.raises(StorageCorruptError, match=r"created_at .* must be a datetime, not "):
            await asyncio.wait_for(relay(source, target), 5)
        stats = await source.status()
        assert (stats.queued_messages, stats.inflight_messages, stats.dead_letters) == (1, 0, 0)
    await source.close()


async def test_core_verbs_of_a_target_are_enough_for_at_least_once() -> None:
    target = await Database(SeedMailbox).open("seed")
    async with open_mailbox("memory://") as source:
        with pytest.raises(UnsupportedError, match=r"target.*lacks ack_and_send, message_id, dedupe_for, ask"):
            relay(source, target)
        await source.enqueue(b"", b"1")
        await source.enqueue(b"", b"with headers", headers={"a": "b"})
        await source.enqueue(b"", b"2")
        async with relaying(source, target, at_least_once=True):

            async def left() -> int:
                stats = await source.status()
                return stats.queued_messages + stats.inflight_messages

            await eventually(left, 0, "messages of the source")
        assert [record.payload for record in await target.dequeue()] == [b"1", b"2"]
        [letter] = await source.dead_letters()
        assert "headers" in letter.reason
        await target.close()


async def test_target_that_cannot_make_mailboxes_is_refused() -> None:
    target = await Database(SmallMailbox).open("small")
    target._nearby = None
    async with open_mailbox("memory://") as source:
        with pytest.raises(UnsupportedError, match=r"open_mailbox\(\)"):
            relay(source, target)
    await target.close()


# -- which source it is ------------------------------------------------------------------------------------------------


async def test_sources_of_one_name_in_two_files(tmp_path: Path) -> None:
    async with (
        open_mailbox(f"sqlite:///{tmp_path}/a.db#outbox") as first,
        open_mailbox(f"sqlite:///{tmp_path}/b.db#outbox") as second,
        open_mailbox(f"sqlite:///{tmp_path}/there.db#inbox") as target,
        relaying(first, target),
        relaying(second, target),
    ):
        await first.enqueue(b"", b"1")
        await arrive(target, b"1")
        await second.enqueue(b"", b"2")
        await arrive(target, b"1", b"2")
    names = await list_mailboxes(f"sqlite:///{tmp_path}/there.db#inbox")
    assert [name.startswith("relay:outbox:") for name in names] == [False, True, True]
    assert await list_mailboxes(f"sqlite:///{tmp_path}/a.db#outbox") == ["outbox", "pymailbox-identity"]


async def test_a_source_keeps_its_identity(tmp_path: Path) -> None:
    for number in range(3):
        async with (
            open_mailbox(f"sqlite:///{tmp_path}/here.db#{'x' * 200}") as source,
            open_mailbox(f"sqlite:///{tmp_path}/there.db#inbox") as target,
            relaying(source, target),
        ):
            await source.enqueue(b"", b"%d" % number)
            await arrive(target, *(b"%d" % one for one in range(number + 1)))
    names = await list_mailboxes(f"sqlite:///{tmp_path}/there.db#inbox")
    assert [len(name) for name in names] == [5, 200]


async def test_with_a_name_nothing_is_made_at_the_source(tmp_path: Path) -> None:
    async with (
        open_mailbox(f"sqlite:///{tmp_path}/here.db#outbox") as source,
        open_mailbox(f"sqlite:///{tmp_path}/there.db#inbox") as target,
        relaying(source, target, name="alice"),
    ):
        await source.enqueue(b"", b"1")
        await arrive(target, b"1")
    assert await list_mailboxes(f"sqlite:///{tmp_path}/here.db#outbox") == ["outbox"]
    assert await list_mailboxes(f"sqlite:///{tmp_path}/there.db#inbox") == ["inbox", "relay:alice"]


async def test_mailboxes_without_a_name_do_not_share_a_cursor() -> None:
    async with (
        open_mailbox("memory://") as first,
        open_mailbox("memory://") as second,
        open_mailbox("memory://") as target,
        relaying(first, target),
        relaying(second, target),
    ):
        await first.enqueue(b"", b"1")
        await arrive(target, b"1")
        await second.enqueue(b"", b"2")
        await arrive(target, b"1", b"2")


# -- the cursor --------------------------------------------------------------------------------------------------------


async def test_cursor_of_somebody_else() -> None:
    name = str(uuid4())
    async with open_mailbox("memory://") as source, open_mailbox(f"memory://{uuid4()}") as target:
        async with open_mailbox(f"memory://relay:{name}") as cursor:
            await cursor.enqueue(b"", b"not one")
        with pytest.raises(StorageCorruptError, match=f"relay:{name}"):
            await relay(source, target, name=name)


@pytest.mark.parametrize("how", ["purge", "ack", "dead_letter", "another"])
async def test_cursor_that_somebody_took_away_or_doubled(how: str) -> None:
    name = str(uuid4())
    async with (
        open_mailbox("memory://") as source,
        open_mailbox(f"memory://{uuid4()}") as target,
        open_mailbox(f"memory://relay:{name}") as cursor,
    ):
        async with relaying(source, target, name=name):
            await source.enqueue(b"", b"1")
            await arrive(target, b"1")
        if how == "purge":
            await cursor.purge()
        elif how == "another":
            await cursor.enqueue(b"", pack_sent([]))
        else:
            [held] = await cursor.dequeue(1)
            await (cursor.ack(held.id) if how == "ack" else cursor.dead_letter(held.id, "in the way"))
        await source.enqueue(b"", b"2")
        with pytest.raises(StorageCorruptError, match=f"relay:{name}.*delete that mailbox"):
            await asyncio.wait_for(relay(source, target, name=name), 5)
        assert await payloads(source) == [b"2"]
        assert await payloads(target) == [b"1"]


async def test_hop_that_is_refused_before_it_begins_is_made_in_smaller_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pymailbox.contract.arguments.LARGEST_MESSAGE", 24 * 50)  # of 64 MiB
    async with open_mailbox("memory://") as source, open_mailbox("memory://") as target:
        for number in range(60):
            await source.enqueue(b"", b"%d" % number)
        async with relaying(source, target):
            await arrive(target, *(b"%d" % number for number in range(60)))


async def test_cursor_outlives_many_deaths(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is always handed out alone, but the target's ``max_deliveries`` are not its own."""
    monkeypatch.setattr(loop, "LOOK_EVERY", 0.01)
    name = str(uuid4())
    for number in range(5):
        source = await open_mailbox(f"memory://{name}-out")
        target = await open_mailbox(f"memory://{name}-in", max_deliveries=1)
        task = asyncio.ensure_future(relay(source, target, retry=SOON))
        await source.enqueue(b"", b"%d" % number)
        await arrive(target, *(b"%d" % one for one in range(number + 1)))
        target._die()
        await asyncio.wait([task])
        assert task.exception() is not None
        await source.close()


def test_cursors_are_packed_and_unpacked() -> None:
    times = [0, 1_767_323_045_678_901, EARLIEST * 1000, LATEST * 1000]
    packed = b"relay  1" + b"".join(uuid4().bytes + time.to_bytes(8, "big", signed=True) for time in times)
    sent = unpack_sent(packed)
    assert [record.created_at for record in sent] == [
        datetime.fromtimestamp(0, UTC) + timedelta(microseconds=time) for time in times
    ]
    assert pack_sent(sent) == packed
    assert pack_sent([]) == b"relay  1"
    assert unpack_sent(b"relay  1") == []
    for payload in (b"", bytes(24), *(b"relay  1" + rest for rest in (bytes(23), bytes(16) + b"\x7f" + bytes(7)))):
        with pytest.raises(ValueError, match=r"\w"):
            unpack_sent(payload)


async def test_dead_letter_that_has_arrived_is_discarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The relay died between hop and acknowledgement, and that was one death too many for its message."""
    monkeypatch.setattr(loop, "LOOK_EVERY", 0.01)
    here, there = f"memory://{uuid4()}", f"memory://{uuid4()}"
    async with open_mailbox(here, max_deliveries=1) as source, open_mailbox(there) as target:
        await source.enqueue(b"", b"1")
        fault = Fault(FaultKind.DEATH_BEFORE, "ack_many")
        dying = FaultyMailbox(await open_mailbox(here, max_deliveries=1), [fault])
        to = await open_mailbox(there)
        task = asyncio.ensure_future(relay(dying, to, retry=SOON, name="x" + here[-30:]))
        await asyncio.wait([task])
        task.exception()
        to._die()
        await source.recover()
        assert (await source.status()).dead_letters == 1
        async with relaying(source, target, name="x" + here[-30:]) as one:

            async def active() -> bool:
                return bool((await one.status()).active)

            await eventually(active, True, "whether the relay is active")
            await source.enqueue(b"", b"2")
            await arrive(target, b"1", b"2")
        assert await source.dead_letters() == []


# -- time --------------------------------------------------------------------------------------------------------------


class Silent(SmallMailbox):
    """A target that gives no answer for a while."""

    speaks: asyncio.Event

    async def send_on(self, message_id: UUID, sends: list[Any]) -> bool:
        await self.speaks.wait()
        return await super().send_on(message_id, sends)


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    monkeypatch.setattr(loop, "SLOW", 0.02)

    async def make() -> Mailbox:
        Silent.speaks = asyncio.Event()
        Silent.speaks.set()
        return await Database(Silent).open("silent")

    return make


async def test_slow_hop_leaves_nothing_inflight(silent: Callable[[], Any]) -> None:
    target = await silent()
    async with open_mailbox("memory://") as source, relaying(source, target) as one:
        await source.enqueue(b"", b"1")
        await arrive(target, b"1")
        Silent.speaks.clear()
        await source.enqueue(b"", b"2")

        async def state() -> tuple[Any, ...]:
            status, stats = await one.status(), await source.status()
            return status.connected, status.active, stats.queued_messages, stats.inflight_messages

        await eventually(state, (False, True, 1, 0), "the state while there is no answer")
        assert "no answer" in (await one.status()).last_error
        Silent.speaks.set()
        await arrive(target, b"1", b"2")
        await eventually(state, (True, True, 0, 0), "the state afterwards")
    await target.close()


async def test_slow_hop_of_a_source_that_takes_nothing_back_is_not_made_again(silent: Callable[[], Any]) -> None:
    class InOrder(Silent):
        async def dequeue(self, limit: int | None = None, *, wait: float | None = None, ack: Any = ()) -> Any:
            await self.speaks.wait()
            await asyncio.sleep(0)
            return await super().dequeue(limit, wait=wait, ack=ack)

    await (await silent()).close()
    target = await Database(InOrder).open("silent")
    source = await Database(SeedMailbox).open("seed")
    async with relaying(source, target) as one:
        await source.enqueue(b"", b"1")
        await arrive(target, b"1")
        Silent.speaks.clear()
        await source.enqueue(b"", b"2")

        async def connected() -> bool:
            return bool((await one.status()).connected)

        await eventually(connected, False, "whether the target answers")
        Silent.speaks.set()
        await arrive(target, b"1", b"2")
        await source.enqueue(b"", b"3")
        await arrive(target, b"1", b"2", b"3")

        async def sent() -> int:
            return int((await one.status()).sent)

        await eventually(sent, 3, "messages that it has sent")
    await source.close()
    await target.close()


async def test_stop_does_not_wait_for_an_answer_that_does_not_come(silent: Callable[[], Any]) -> None:
    target = await silent()
    async with open_mailbox("memory://") as source:
        async with relaying(source, target):
            await source.enqueue(b"", b"1")
            await arrive(target, b"1")
            Silent.speaks.clear()
            await source.enqueue(b"", b"2")
            await asyncio.sleep(0.05)
        assert await payloads(source) == [b"2"]
        Silent.speaks.set()
        async with relaying(source, target):
            await arrive(target, b"1", b"2")
    await target.close()


async def test_source_that_gives_no_answer_has_a_status_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_STATUS_PATIENCE", 0.01)
    async with open_mailbox("memory://") as source, open_mailbox("memory://") as target:
        one = relay(source, target)

        async def never() -> Any:
            await asyncio.sleep(60)

        with monkeypatch.context() as patch:
            patch.setattr(source, "status", never)
            status = await one.status()
        assert (status.waiting, status.oldest_waiting_at) == (None, None)
        assert RelayStatus.from_dict(status.to_dict()) == status
        one.close()


async def test_pauses_grow_and_end_when_the_network_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Callable[[], None]] = []

    def when_it_may_be_back(callback: Callable[[], None]) -> Callable[[], None]:
        heard.append(callback)
        return lambda: heard.remove(callback)

    monkeypatch.setattr(loop, "when_it_may_be_back", when_it_may_be_back)
    away = Fault(FaultKind.LOST_BEFORE, "dequeue", times=3)
    target = FaultyMailbox(await open_mailbox(f"memory://{uuid4()}"), beside=[away])
    pauses: list[int] = []
    policy = RetryPolicy(first_delay=1000.0, longest_delay=1000.0)
    monkeypatch.setattr(
        type(policy),
        "delay_after",
        lambda self, attempt: pauses.append(attempt) or 1000.0,  # type: ignore[func-returns-value]
    )
    async with open_mailbox("memory://") as source:
        await source.enqueue(b"", b"1")
        async with relaying(source, target, retry=policy):
            for attempt in range(1, 4):

                async def made() -> int:
                    return len(pauses)

                await eventually(made, attempt, "attempts")
                await asyncio.sleep(0)
                heard[0]()
            await arrive(target, b"1")
        assert pauses == [1, 2, 3]
        assert heard == []
    await target.close()


async def test_relay_is_connected_while_it_waits_for_what_another_one_had(monkeypatch: pytest.MonkeyPatch) -> None:
    wait = loop.Relayer._wait_for_what_another_had
    monkeypatch.setattr(loop.Relayer, "_wait_for_what_another_had", lambda relayer, _: wait(relayer, True))
    where = f"memory://{uuid4()}"
    async with open_mailbox(where) as source, open_mailbox(where) as other, open_mailbox("memory://target") as target:
        await source.enqueue(b"", b"of the other")
        await source.enqueue(b"", b"mine")
        [held] = await other.dequeue(1)
        async with relaying(source, target) as relayer:

            async def connected() -> bool:
                return bool((await relayer.status()).connected)

            await eventually(connected, True, "whether it is connected")
            assert (await target.status()).queued_messages == 0
            await other.ack(held.id)
            await arrive(target, b"mine")


async def test_session_in_which_nothing_came_about_is_followed_by_a_pause() -> None:
    class Late(SmallMailbox):
        hops = 0

        async def send_on(self, message_id: UUID, sends: list[Any]) -> bool:
            if len(sends) > 1:
                Late.hops += 1
                return False
            return await super().send_on(message_id, sends)

    target = await Database(Late).open("late")
    async with open_mailbox("memory://") as source:
        await source.enqueue(b"", b"1")
        async with relaying(source, target, retry=RetryPolicy(first_delay=60.0, jitter=0.0)):
            await asyncio.sleep(0.05)
        assert Late.hops == 1
    await target.close()


async def test_refusal_that_takes_long_is_the_last_of_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has gone back to the source meanwhile."""
    monkeypatch.setattr(loop, "SLOW", 0.01)

    class Slow(SmallMailbox):
        hops = 0

        async def send_on(self, message_id: UUID, sends: list[Any]) -> bool:
            if any(message.payload == b"bad" for _, message in sends):
                Slow.hops += 1
                await asyncio.sleep(0.05)
                raise ValueError("too large")
            return await super().send_on(message_id, sends)

    target = await Database(Slow).open("slow")
    async with open_mailbox("memory://") as source:
        for payload in (b"bad", b"good"):
            await source.enqueue(b"", payload)
        async with relaying(source, target, batch=1):
            await arrive(target, b"good")
        [letter] = await source.dead_letters()
        assert "too large" in letter.reason
        assert Slow.hops == 1
    await target.close()


async def test_errors_that_do_not_pass_end_it() -> None:
    class Broken(SmallMailbox):
        async def send_on(self, message_id: UUID, sends: list[Any]) -> bool:
            if len(sends) > 1:
                raise MailboxError("for good")
            return await super().send_on(message_id, sends)

    target = await Database(Broken).open("broken")
    async with open_mailbox("memory://") as source:
        await source.enqueue(b"", b"1")
        with pytest.raises(MailboxError, match="for good"):
            await relay(source, target)
        stats = await source.status()
        assert (stats.queued_messages, stats.inflight_messages, stats.dead_letters) == (1, 0, 0)
    await target.close()


async def test_cancelled_twice_it_drops_what_is_under_way(
    silent: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = await silent()
    monkeypatch.setattr(loop, "SLOW", 60.0)
    async with open_mailbox("memory://") as source:
        one = relay(source, target)
        task = asyncio.ensure_future(one)
        await source.enqueue(b"", b"1")
        await arrive(target, b"1")
        Silent.speaks.clear()
        await source.enqueue(b"", b"2")
        await asyncio.sleep(0.02)
        task.cancel()
        for _ in range(10):
            await asyncio.sleep(0)
        assert one.stopping
        assert not task.done()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert await payloads(source) == [b"2"]
        assert (await source.status()).inflight_messages == 0
        Silent.speaks.set()
        async with relaying(source, target):
            await arrive(target, b"1", b"2")
    await target.close()


class Stubborn(SmallMailbox):
    """Takes back nothing at first."""

    failures = 2

    async def _release(self, ids: list[UUID]) -> None:
        if self.failures:
            self.failures -= 1
            raise MailboxError("not now", passing=True)
        await super()._release(ids)


async def test_what_could_not_be_given_back_goes_back_later() -> None:
    source = await Database(Stubborn).open("stubborn")
    fault = Fault(FaultKind.LOST_BEFORE, "ack_and_send", nth=2)
    async with FaultyMailbox(await open_mailbox(f"memory://{uuid4()}"), beside=[fault]) as target:
        for payload in (b"1", b"2", b"3"):
            await source.enqueue(b"", payload)
        async with relaying(source, target, batch=2):
            await arrive(target, b"1", b"2", b"3")
    assert isinstance(source, Stubborn)
    assert source.failures == 0
    await source.close()


async def test_one_cancellation_delivered_again_and_again_is_one(
    silent: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a cancelled scope of anyio: the hop under way is finished and acknowledged."""
    target = await silent()
    monkeypatch.setattr(loop, "SLOW", 60.0)
    async with open_mailbox("memory://") as source:
        task = asyncio.ensure_future(relay(source, target, retry=SOON))
        await source.enqueue(b"", b"1")
        await arrive(target, b"1")
        Silent.speaks.clear()
        await source.enqueue(b"", b"2")
        await asyncio.sleep(0.02)
        for turn in range(50):
            if turn == 30:
                Silent.speaks.set()
            task.cancel()
            await asyncio.sleep(0)
        await asyncio.wait([task])
        assert task.cancelled()
        assert await payloads(target) == [b"1", b"2"]
        assert await payloads(source) == []
    await target.close()


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("turns", range(1, 12))
async def test_mailbox_closed_while_it_begins_ends_it(turns: int, which: int) -> None:
    mailboxes = await open_mailbox("memory://"), await open_mailbox("memory://")
    task = asyncio.ensure_future(relay(*mailboxes))
    for _ in range(turns):
        await asyncio.sleep(0)
    await mailboxes[which].close()
    await asyncio.wait_for(task, 5)
    await mailboxes[1 - which].close()


@pytest.mark.parametrize("verb", ["recover", "_ack_late", "ack_many", "_release"])
async def test_source_that_gives_no_answer_does_not_hold_up_a_stop(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SLOW", 0.02)

    async def never(_: Any = None) -> None:
        await asyncio.sleep(3600)

    here, there, name = f"memory://{uuid4()}", f"memory://{uuid4()}", str(uuid4())
    lost = [Fault(FaultKind.LOST_BEFORE, "ack_and_send", nth=2)] if verb == "_release" else []
    async with open_mailbox(here) as source, FaultyMailbox(await open_mailbox(there), beside=lost) as target:
        await source.enqueue(b"", b"1")
        if verb == "_ack_late":
            async with relaying(source, target, name=name):
                await arrive(target, b"1")
        monkeypatch.setattr(source, verb, never)
        if verb == "ack_many":
            monkeypatch.setattr(source, "capabilities", source.capabilities - {Capability.GET})
        task = asyncio.ensure_future(one := relay(source, target, retry=SOON, name=name))
        await asyncio.sleep(0.05)
        one.stop()
        await asyncio.wait_for(task, 5)


async def test_silent_source_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many calls there are to be made at the end: ack, give back, and again."""
    slow = 0.3
    monkeypatch.setattr(loop, "SLOW", slow)

    class Mute(SmallMailbox):
        is_mute = False

        async def turn(self) -> None:
            await asyncio.sleep(3600 if self.is_mute else 0)

        async def get(self, message_id: UUID) -> Any:
            await self.turn()
            return await super().get(message_id)

        async def _release(self, ids: list[UUID]) -> None:
            await self.turn()
            await super()._release(ids)

    source = await Database(Mute).open("mute")
    assert isinstance(source, Mute)
    async with open_mailbox("memory://") as target:
        task = asyncio.ensure_future(one := relay(source, target, batch=1))
        await source.enqueue(b"", b"1")
        await arrive(target, b"1")
        source.is_mute = True  # what was sent is to be acknowledged now, and the next one claimed
        await asyncio.sleep(0)
        began = asyncio.get_running_loop().time()
        one.stop()
        await asyncio.wait([task])
        assert asyncio.get_running_loop().time() - began < 1.7 * slow
    source.is_mute = False
    await source.close()


async def test_calls_that_are_answered_use_up_no_patience() -> None:
    """Or a relay that has worked for long enough would wait for nobody when it is stopped."""
    async with (
        open_mailbox("memory://") as source,
        open_mailbox("memory://") as target,
        relaying(source, target) as one,
    ):
        for payload in (b"1", b"2", b"3"):
            await source.enqueue(b"", payload)
        await arrive(target, b"1", b"2", b"3")
        assert one._patience == {"source": loop.SLOW, "target": loop.SLOW}


async def test_what_is_not_given_back_at_the_end_is_tried_again() -> None:
    source = await Database(Stubborn).open("stubborn")
    away = Fault(FaultKind.LOST_BEFORE, "ack_and_send", nth=2)
    async with FaultyMailbox(await open_mailbox(f"memory://{uuid4()}"), beside=[away]) as target:
        await source.enqueue(b"", b"1")
        async with relaying(source, target, retry=RetryPolicy(first_delay=60.0)) as one:

            async def failed() -> bool:
                return "lost" in ((await one.status()).last_error or "")

            await eventually(failed, True, "whether a hop has failed")
        stats = await source.status()
        assert (stats.queued_messages, stats.inflight_messages) == (1, 0)
    await source.close()


async def test_it_is_no_longer_known_to_its_mailboxes() -> None:
    async with open_mailbox("memory://") as source, open_mailbox("memory://") as target:
        for _ in range(2):
            async with relaying(source, target):
                await source.enqueue(b"", b"")
                await asyncio.sleep(0.01)
        assert source._companions == target._companions == ()
        assert Capability.ASK in target.capabilities


# -- mailboxes that the relay opens ------------------------------------------------------------------------------------


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Keeps mailboxes in memory from being opened so many times."""
    left = 0

    def be_away(times: int) -> None:
        nonlocal left
        left = times

    class Unsteady(MemoryMailbox):
        @classmethod
        async def open_at(cls, location: Any, options: Any) -> Any:
            nonlocal left
            if location.name.startswith("there") and left:
                left -= 1
                raise StorageUnavailableError("nobody answers", passing=True)
            return await super().open_at(location, options)

    monkeypatch.setattr(_open, "backend_of", lambda location: Unsteady)
    yield be_away
    assert left == 0


@pytest.mark.parametrize("which", ["source", "target", "both"])
async def test_what_cannot_be_opened_yet_is_opened_later(which: str, away: Callable[[int], None]) -> None:
    here, there = f"memory://there-{uuid4()}", f"memory://there-{uuid4()}"
    async with open_mailbox(here) as source, open_mailbox(there) as target:
        away(3)
        await source.enqueue(b"", b"1")
        ends: list[Any] = [source, target]
        if which != "target":
            ends[0] = open_mailbox(here)
        if which != "source":
            ends[1] = open_mailbox(there)
        async with relaying(*ends) as one:
            status = await one.status()
            assert (status.waiting is None, status.connected) == (which != "target", False)
            assert RelayStatus.from_dict(status.to_dict()) == status
            await arrive(target, b"1")
            assert "nobody answers" in (await one.status()).last_error
            assert (await one.status()).connected
        assert source._companions == target._companions == ()
        assert (await one.status()).sent == 1


@pytest.mark.parametrize("way", ["stop", "cancel", "fail"])
async def test_what_it_opened_it_closes(way: str) -> None:
    name = str(uuid4())
    one = relay(open_mailbox(f"memory://{uuid4()}"), open_mailbox(f"memory://{uuid4()}"), retry=SOON, name=name)
    if way == "fail":
        async with open_mailbox(f"memory://relay:{name}") as cursor:
            await cursor.enqueue(b"", b"not one")
    task = asyncio.ensure_future(one)

    async def opened() -> int:
        return len(one._opened)

    await eventually(opened, 2, "opened mailboxes")
    if way == "stop":
        one.stop()
    elif way == "cancel":
        task.cancel()
    await asyncio.wait([task])
    assert (await one.status()).waiting is None
    for mailbox in one._opened.values():
        with pytest.raises(MailboxClosedError):
            await mailbox.status()


async def test_mailboxes_that_turn_out_to_be_wrong() -> None:
    name = str(uuid4())
    async with open_mailbox(f"memory://{name}") as source:
        with pytest.raises(ValueError, match="target must be another mailbox than source"):
            await relay(source, open_mailbox(f"memory://{name}"))
        with pytest.raises(ValueError, match="target must be another mailbox than source"):
            await relay(open_mailbox(f"memory://{name}"), source)
    assert source._companions == ()


async def test_stop_before_it_has_opened_anything() -> None:
    one = relay(open_mailbox("memory://"), open_mailbox("memory://"))
    one.stop()
    await one
    gc.collect()  # nobody is told that a mailbox was never opened
    assert (await one.status()).waiting is None
