"""What ``Mailbox`` itself provides to a class with the core verbs and ``close``."""

from __future__ import annotations

import asyncio
import copy
import inspect
import math
import pickle
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar
from uuid import UUID

import pytest

from pymailbox import Mailbox, MailboxClosedError, NewMessage, UnsupportedError
from pymailbox.contract.arguments import check_limit
from pymailbox.contract.polling import poll
from tests.unit.example_mailboxes import Database, SeedMailbox, SmallMailbox


async def seed_mailbox() -> Mailbox:
    return await Database(SeedMailbox).open("inbox")


class TellsNothing:
    def on_depth_change(self, queued_messages: int) -> None:
        raise AssertionError("an observer that was not installed was called")


def test_mailbox_is_abstract() -> None:
    with pytest.raises(TypeError, match=r"abstract.* ack.* close.* dequeue.* enqueue.* status"):
        Mailbox()  # type: ignore[abstract]


@pytest.mark.parametrize(
    ("capability", "call"),
    [
        ("enqueue_many", lambda mailbox: mailbox.enqueue_many([NewMessage(b"", b"")])),
        ("ack_many", lambda mailbox: mailbox.ack_many([])),
        ("peek", lambda mailbox: mailbox.peek()),
        ("purge", lambda mailbox: mailbox.purge()),
    ],
)
async def test_missing_verbs_say_so(capability: str, call: Callable[[Mailbox], Awaitable[Any]]) -> None:
    mailbox = await seed_mailbox()
    assert capability not in mailbox.capabilities
    with pytest.raises(UnsupportedError, match=f"SeedMailbox does not support {capability}"):
        await call(mailbox)


async def test_no_observer_is_installed() -> None:
    mailbox = await seed_mailbox()
    assert mailbox.set_depth_observer(TellsNothing()) is False
    assert mailbox.set_depth_observer(None) is False
    await mailbox.enqueue(b"", b"")


async def test_plain_dequeue_learns_to_wait() -> None:
    mailbox = await seed_mailbox()
    assert await mailbox.dequeue(wait=0.01) == []
    waiting = asyncio.ensure_future(mailbox.dequeue(wait=math.inf))
    await asyncio.sleep(0)
    message_id = await mailbox.enqueue(b"", b"payload")
    assert [record.id for record in await waiting] == [message_id]


@pytest.mark.parametrize(
    ("wait", "error"), [(-1, ValueError), (math.nan, ValueError), ("1", TypeError), (True, TypeError)]
)
async def test_bad_wait_is_named(wait: Any, error: type[Exception]) -> None:
    mailbox = await seed_mailbox()
    await mailbox.enqueue(b"", b"")
    with pytest.raises(error, match="wait must be"):
        await mailbox.dequeue(wait=wait)
    assert len(await mailbox.dequeue()) == 1


def test_waiting_keeps_the_signature() -> None:
    assert list(inspect.signature(SeedMailbox.dequeue).parameters) == ["self"]
    assert SeedMailbox.dequeue.__name__ == "dequeue"


class AcksNothingAlong(SeedMailbox):
    """Written before ``dequeue`` could acknowledge."""

    waits: ClassVar[list[float | None]] = []

    async def dequeue(self, limit: int | None = None, *, wait: float | None = None) -> list[Any]:  # type: ignore[override]
        check_limit(limit)
        self.waits.append(wait)
        return await super().dequeue()


@pytest.mark.parametrize("mailbox_class", [SeedMailbox, AcksNothingAlong])
async def test_dequeue_that_knows_no_ack_acknowledges_first(mailbox_class: type[SeedMailbox]) -> None:
    mailbox = await Database(mailbox_class).open("inbox")
    ids = [await mailbox.enqueue(b"", b"") for _ in range(12)]
    await mailbox.dequeue()
    assert [record.id for record in await mailbox.dequeue(ack=iter(ids[:10]))] == ids[10:]
    assert await mailbox.dequeue(wait=0.001, ack=[ids[10], ids[10]]) == []
    assert [await mailbox.ack(message_id) for message_id in ids] == [False] * 11 + [True]
    assert not mailbox._acks_with_claims
    assert not mailbox._acks_if_held_with_claims


@pytest.mark.parametrize("bad", [{"wait": -1}, {"limit": 0}, {"ack": ["text"]}, {"ack": UUID(int=0)}, {"ack": None}])
async def test_bad_argument_keeps_a_default_from_acknowledging(bad: dict[str, Any]) -> None:
    mailbox = await Database(AcksNothingAlong).open("inbox")
    message_id = await mailbox.enqueue(b"", b"")
    await mailbox.dequeue()
    given = {"ack": [message_id]} | bad
    with pytest.raises((TypeError, ValueError), match=next(iter(bad))):
        await mailbox.dequeue(**given)
    assert await mailbox.ack(message_id)


async def test_dequeue_that_can_wait_waits_itself() -> None:
    mailbox = await Database(AcksNothingAlong).open("inbox")
    AcksNothingAlong.waits.clear()
    for wait in (None, 0.0, 1e9):
        await mailbox.enqueue(b"", b"")
        await mailbox.dequeue(wait=wait)
    assert AcksNothingAlong.waits == [None, 0.0, 1e9]


async def test_dequeue_that_can_acknowledge_does_so_itself() -> None:
    async with await Database(SmallMailbox).open("inbox") as mailbox:
        assert mailbox._acks_with_claims


async def test_subclass_without_a_dequeue_of_its_own_waits_as_well() -> None:
    class Sub(SeedMailbox):
        pass

    assert await (await Database(Sub).open("inbox")).dequeue(wait=0.01) == []


async def test_poll_returns_what_it_takes_first() -> None:
    answers: list[list[Any]] = [[], [], ["taken"], ["too much"]]

    async def take() -> list[Any]:
        return answers.pop(0)

    taken: list[Any] = await poll(take, math.inf)
    assert taken == ["taken"]
    assert answers == [["too much"]]


@pytest.mark.parametrize("wait", [None, 0, 0.0])
async def test_poll_without_a_wait_looks_once(wait: float | None) -> None:
    looks = []

    async def take() -> list[Any]:
        looks.append(1)
        return []

    assert await poll(take, wait) == []
    assert len(looks) == 1


async def test_poll_looks_once_more_when_the_time_is_over() -> None:
    looks: list[float] = []

    async def take() -> list[Any]:
        looks.append(asyncio.get_running_loop().time())
        return []

    start = asyncio.get_running_loop().time()
    await poll(take, 0.02)
    assert len(looks) == 2
    assert looks[-1] >= start + 0.02


async def test_messages_end_when_the_mailbox_is_closed() -> None:
    mailbox = await seed_mailbox()
    ids = [await mailbox.enqueue(b"", b"") for _ in range(3)]
    seen: list[UUID] = []
    async for record in mailbox.messages():
        seen.append(record.id)
        if len(seen) == 3:
            await mailbox.close()
    assert seen == ids


async def test_messages_pass_other_errors_on() -> None:
    class Failing(SeedMailbox):
        async def dequeue(self) -> list[Any]:  # type: ignore[override]  # a plain one
            raise OSError("no storage")

    with pytest.raises(OSError, match="no storage"):
        async for _ in (await Database(Failing).open("inbox")).messages():
            pass


async def test_async_with_closes() -> None:
    async with await seed_mailbox() as mailbox:
        await mailbox.enqueue(b"", b"")
    with pytest.raises(MailboxClosedError):
        await mailbox.status()


async def test_no_copies() -> None:
    mailbox = await seed_mailbox()
    for make in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="a SeedMailbox cannot be pickled or copied: open the mailbox again"):
            make(mailbox)


def test_every_verb_is_documented() -> None:
    for name, verb in inspect.getmembers(Mailbox, inspect.isfunction):
        if not name.startswith("_"):
            assert inspect.getdoc(verb), f"Mailbox.{name} has no docstring"
