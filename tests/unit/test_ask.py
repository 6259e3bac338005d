"""``ask`` and ``Context.reply`` beyond what the suite checks: arguments, deaths, and leftovers."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import os
import signal
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import pytest

from pymailbox import (
    Context,
    Mailbox,
    MailboxClosedError,
    MailboxError,
    MailboxStats,
    MessageRecord,
    MessageStatus,
    RetryPolicy,
    StorageFullError,
    UnsupportedError,
    WrongThreadError,
    ask,
    delete_mailbox,
    list_mailboxes,
    open_mailbox,
    sync,
)
from pymailbox.actors import asking, reply_mailboxes, replying
from pymailbox.cli import main
from pymailbox.contract.arguments import Durability
from pymailbox.testing import Fault, FaultKind, FaultyMailbox
from pymailbox.testing._death import let_be_collected
from tests.unit.example_mailboxes import Database, SeedMailbox
from tests.unit.sqlite_support import run_script


@pytest.fixture(params=["memory", "sqlite"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the mailboxes of a test are."""
    return f"memory://{uuid4()}" if request.param == "memory" else f"sqlite:///{tmp_path}/mail.db#inbox"


def echo(message: MessageRecord, context: Context) -> None:
    context.reply(b"re: " + message.payload)


@asynccontextmanager
async def answering(mailbox: Mailbox, handler: Any = echo, **options: Any) -> AsyncIterator[None]:
    consumer = mailbox.consume(handler, **options)
    task: asyncio.Task[None] = asyncio.ensure_future(consumer)
    try:
        yield
    finally:
        consumer.stop()
        await task


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def reply_mailboxes_at(location: str) -> list[str]:
    return [name for name in await list_mailboxes(location) if reply_mailboxes.marker_of(name)]


def beside(location: str, name: str) -> str:
    return location.partition("#")[0] + "#" + name if "#" in location else f"memory://{name}"


# -- arguments ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "words", "arguments"),
    [
        (TypeError, r"payload must be bytes .* not str; text\.encode\(\)", {"payload": "text"}),
        (TypeError, "sender must be bytes", {"sender": None}),
        (TypeError, "priority must be", {"priority": 1}),
        (TypeError, "message_id must be", {"message_id": "x"}),
        (TypeError, "timeout must be a number of seconds, not None", {"timeout": None}),
        (TypeError, "timeout must be a number of seconds, not bool", {"timeout": True}),
        (ValueError, "timeout must be a positive number", {"timeout": 0}),
        (ValueError, "timeout must be a positive number", {"timeout": float("nan")}),
        (TypeError, r"headers\['a'\] must be a str", {"headers": {"a": 1}}),
        (ValueError, "headers must not have 'reply-to'", {"headers": {"reply-to": "x"}}),
        (ValueError, "headers must not have 'correlation-id'", {"headers": {"correlation-id": "x"}}),
    ],
)
async def test_bad_questions(where: str, error: type[Exception], words: str, arguments: dict[str, Any]) -> None:
    given: dict[str, Any] = {"payload": b"", "timeout": 1, **arguments}
    async with open_mailbox(where) as mailbox:
        with pytest.raises(error, match=words):
            await ask(mailbox, given.pop("payload"), **given)
        assert (await mailbox.status()).ever_queued == 0
    assert await reply_mailboxes_at(where) == []


async def test_not_a_mailbox(where: str) -> None:
    with pytest.raises(TypeError, match="mailbox must be an open mailbox, not str"):
        await ask("inbox", b"", timeout=1)  # type: ignore[arg-type]
    opening = open_mailbox(where)
    with pytest.raises(TypeError, match="not MailboxOpening: await it, or use it with 'async with'"):
        await ask(opening, b"", timeout=1)  # type: ignore[arg-type]
    await (await opening).close()
    with (
        sync.open_mailbox(where) as mailbox,
        pytest.raises(TypeError, match=r"not SyncMailbox, which pymailbox\.sync has functions for"),
    ):
        await ask(mailbox, b"", timeout=1)  # type: ignore[arg-type]


async def test_headers_that_become_too_many(where: str) -> None:
    async with open_mailbox(where) as mailbox:
        with pytest.raises(ValueError, match="headers must be at most 64, not 66"):
            await ask(mailbox, b"", timeout=1, headers={str(number): "" for number in range(64)})
        assert (await mailbox.status()).ever_queued == 0


async def test_backend_without_headers() -> None:
    mailbox = await Database(SeedMailbox).open("inbox")
    with pytest.raises(UnsupportedError, match="SeedMailbox does not support ask"):
        await ask(mailbox, b"", timeout=1)
    await mailbox.close()


async def test_closed_mailbox(where: str) -> None:
    async with open_mailbox(where) as mailbox:
        pass
    with pytest.raises(MailboxClosedError):
        await ask(mailbox, b"", timeout=1)
    assert await reply_mailboxes_at(where) == []


async def test_another_event_loop(where: str) -> None:
    async with open_mailbox(where) as mailbox, open_mailbox(where) as inbox, answering(inbox):
        await ask(mailbox, b"", timeout=20)
        with pytest.raises(WrongThreadError):
            await asyncio.to_thread(asyncio.run, ask(mailbox, b"", timeout=1))


async def test_bad_replies(where: str) -> None:
    problems: list[tuple[str, str]] = []
    contexts: list[Context] = []

    def handler(message: MessageRecord, context: Context) -> None:
        bad: list[dict[str, Any]] = [
            {"payload": "text"},
            {"sender": 1},
            {"headers": {"correlation-id": "mine"}},
            {"message_id": 1},
        ]
        for arguments in bad if "reply-to" in message.headers else [{}]:
            try:
                context.reply(**{"payload": b"", **arguments})
            except (TypeError, ValueError) as error:
                problems.append((type(error).__name__, str(error).replace(str(message.id), "ID")))
        if "reply-to" in message.headers:
            context.reply(b"good")
        contexts.append(context)

    async with open_mailbox(where) as mailbox, open_mailbox(where) as inbox:
        await mailbox.enqueue(b"", b"")
        async with answering(inbox, handler):
            assert (await ask(mailbox, b"", timeout=20)).payload == b"good"
    wanted = "must be bytes or another bytes-like value"
    assert problems == [
        ("ValueError", "message ID has no header 'reply-to', so nobody waits for an answer; ask() sends one"),
        ("TypeError", f"payload {wanted}, not str; text.encode() turns text into bytes"),
        ("TypeError", f"sender {wanted}, not int"),
        ("ValueError", "headers must not have 'correlation-id', which an answer has from its question"),
        ("TypeError", "message_id must be a uuid.UUID, not int"),
    ]
    with pytest.raises(RuntimeError, match="before it returns"):
        contexts[-1].reply(b"too late")


# -- answers -----------------------------------------------------------------------------------------------------------


async def test_question_is_copied_at_the_call(where: str) -> None:
    async with open_mailbox(where) as mailbox, open_mailbox(where) as inbox, answering(inbox):
        payload, headers = bytearray(b"tea"), {"trace": "1"}
        question = ask(mailbox, payload, timeout=20, headers=headers)
        payload[:] = b"???"
        headers["trace"] = "\0" * 9000
        assert (await question).payload == b"re: tea"


async def test_handle_that_asks_itself(where: str) -> None:
    for location in (where, "memory://"):
        async with open_mailbox(location) as mailbox, answering(mailbox):
            assert (await ask(mailbox, b"tea", timeout=20)).payload == b"re: tea"
    assert await reply_mailboxes_at(where) == []


async def test_first_of_several_answers_counts(where: str) -> None:
    def handler(message: MessageRecord, context: Context) -> None:
        for payload in (b"first", b"second"):
            context.reply(payload)

    async with open_mailbox(where) as mailbox, open_mailbox(where) as inbox, answering(inbox, handler):
        assert [(await ask(mailbox, b"", timeout=20)).payload for _ in range(3)] == [b"first"] * 3


async def test_handler_that_acknowledges_itself(where: str) -> None:
    async def handler(message: MessageRecord, context: Context) -> None:
        context.reply(b"done")
        await context.mailbox.ack(message.id)

    async with open_mailbox(where) as mailbox, open_mailbox(where) as inbox, answering(inbox, handler):
        assert (await ask(mailbox, b"", timeout=20)).payload == b"done"


async def test_actor_that_asks_another(where: str) -> None:
    async with (
        open_mailbox(where) as asker,
        open_mailbox(where) as front,
        open_mailbox(where + "-back") as back,
        open_mailbox(where + "-back") as worker,
    ):

        async def handler(message: MessageRecord, context: Context) -> None:
            context.reply(b"front " + (await ask(back, message.payload, timeout=20)).payload)

        async with answering(front, handler), answering(worker):
            assert (await ask(asker, b"tea", timeout=20)).payload == b"front re: tea"


async def test_many_askers_in_turn(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replying, "MOST_IDLE", 2)
    async with open_mailbox(where) as inbox, answering(inbox):
        for _ in range(2):
            askers = [await open_mailbox(where) for _ in range(5)]
            for asker in askers * 2:
                assert (await ask(asker, b"", timeout=20)).payload == b"re: "
            [replies] = inbox._companions
            assert isinstance(replies, replying._Replies)
            await until(partial(_has_open, replies, 2))
            for asker in askers:
                await asker.close()
    assert await reply_mailboxes_at(where) == []


async def _has_open(replies: replying._Replies, count: int) -> bool:
    return len(replies._targets) == count


async def test_lost_connections_lose_no_answer(where: str) -> None:
    async with open_mailbox(where) as mailbox:
        inbox = FaultyMailbox(await open_mailbox(where), [Fault(FaultKind.LOST_BEFORE, "ack_and_send", times=2)])
        async with inbox, answering(inbox):
            assert (await ask(mailbox, b"tea", timeout=20)).payload == b"re: tea"
        assert inbox.struck == [("ack_and_send", FaultKind.LOST_BEFORE)] * 2


async def test_timeout_of_the_mailbox_itself_is_no_missing_answer(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_mailbox(where) as mailbox:

        async def enqueue(*_: Any, **__: Any) -> None:
            raise TimeoutError("the storage is slow")

        monkeypatch.setattr(mailbox, "enqueue", enqueue)
        with pytest.raises(TimeoutError, match="the storage is slow"):
            await ask(mailbox, b"", timeout=20)


async def test_reply_mailbox_that_cannot_be_made(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_mailbox(where) as mailbox, open_mailbox(where) as inbox, answering(inbox):
        nearby = mailbox._nearby

        class Refusing:
            async def open(self, name: str, **_: Any) -> Mailbox:
                raise MailboxClosedError("refused")

            async def delete(self, name: str, unless: object = None) -> bool:
                return False

        monkeypatch.setattr(mailbox, "_nearby", Refusing())
        with pytest.raises(MailboxClosedError, match="refused"):
            await ask(mailbox, b"", timeout=20)
        monkeypatch.setattr(mailbox, "_nearby", nearby)
        assert (await ask(mailbox, b"tea", timeout=20)).payload == b"re: tea"


# -- obstacles ---------------------------------------------------------------------------------------------------------


class Unsteady:
    """The mailboxes nearby, which cannot be seen for a while."""

    really_open: Any

    def __init__(self, nearby: Any, *errors: Exception) -> None:
        self.open, self.delete, self._names = nearby.open, nearby.delete, nearby.names
        self._errors = list(errors)

    async def names(self) -> list[str]:
        if self._errors:
            raise self._errors.pop()
        names: list[str] = await self._names()
        return names


@pytest.mark.parametrize("passing", [True, False])
async def test_what_else_was_sent_is_not_lost_with_an_answer(
    passing: bool, where: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pymailbox.actors.retrying._PAUSES", RetryPolicy(first_delay=0.01))

    async def send_and_reply(message: MessageRecord, context: Context) -> None:
        context.send(inbox, b"", b"important", delay=3600)
        context.reply(b"answer")
        await inbox.ack(message.id)

    async with open_mailbox(where) as inbox, open_mailbox(where) as asker:
        inbox._nearby = Unsteady(inbox._nearby, MailboxError("a hiccup", passing=passing))
        async with answering(inbox, send_and_reply):
            if passing:
                assert (await ask(asker, b"", timeout=20)).payload == b"answer"
            else:
                with pytest.raises(TimeoutError):
                    await ask(asker, b"", timeout=0.2)
        assert [record.payload for record in await inbox.peek()] == [b"important"]
    lost = [record.getMessage() for record in caplog.records if "lost" in record.getMessage()]
    assert [line.split(";")[0] for line in lost] == ([] if passing else ["1 answers are lost"])


async def test_handler_that_closes_its_mailbox_leaves_no_other_open(where: str) -> None:
    async def reply_and_close(_: MessageRecord, context: Context) -> None:
        context.reply(b"answer")
        await context.mailbox.close()

    async with open_mailbox(where) as asker:
        inbox = await open_mailbox(where)
        question = asyncio.ensure_future(ask(asker, b"", timeout=0.5))
        await inbox.consume(reply_and_close)
        with pytest.raises(TimeoutError):
            await question
        assert inbox._companions == ()


async def test_time_is_counted_from_the_first_step(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_mailbox(where) as mailbox:
        status = mailbox.status

        async def slow_status() -> MailboxStats:
            await asyncio.sleep(20)
            return await status()

        monkeypatch.setattr(mailbox, "status", slow_status)
        async with asyncio.timeout(10):
            with pytest.raises(TimeoutError, match=r"within 0\.05 s"):
                await ask(mailbox, b"", timeout=0.05)
        assert (await status()).ever_queued == 0


async def test_headers_of_an_answer_that_are_none_are_named(where: str) -> None:
    failures: list[str] = []
    answered = asyncio.Event()

    async def reply_badly(_: MessageRecord, context: Context) -> None:
        for headers in (5, "ab"):
            with pytest.raises(TypeError) as caught:
                context.reply(b"", headers=headers)  # type: ignore[arg-type]
            failures.append(str(caught.value))
        answered.set()

    async with open_mailbox(where) as inbox, open_mailbox(where) as asker, answering(inbox, reply_badly):
        asking = asyncio.ensure_future(ask(asker, b"", timeout=20))
        await answered.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert [text.split()[0] for text in failures] == ["headers", "headers"]


async def test_forked_child_does_not_end_what_its_parent_has(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_mailbox(where) as inbox, open_mailbox(where) as mailbox, answering(inbox):
        await ask(mailbox, b"", timeout=20)
        [asker] = mailbox._companions
        with monkeypatch.context() as patch:
            patch.setattr("os.getpid", lambda: -1)
            asker.end_from_anywhere()
        await asyncio.sleep(0.01)
        assert not asker.over


async def test_asker_that_failed_is_forgotten(where: str) -> None:
    async with open_mailbox(where) as mailbox:
        nearby = Unsteady(mailbox._nearby)

        async def fail(_: str, **__: Any) -> Mailbox:
            raise StorageFullError("on purpose")

        nearby.open = fail
        mailbox._nearby = nearby
        for _ in range(3):
            with pytest.raises(StorageFullError):
                await ask(mailbox, b"", timeout=20)
            await asyncio.sleep(0.05)
        assert len(mailbox._companions) == 1


def test_command_line_never_takes_a_mailbox_for_answers(tmp_path: Path) -> None:
    file = tmp_path / "app.db"
    name = reply_mailboxes.name_of(reply_mailboxes.new_marker())

    async def leave_it() -> None:
        async with open_mailbox(f"sqlite:///{file}#{name}") as mailbox:
            await mailbox.enqueue(b"", b"")

    asyncio.run(leave_it())
    command = [sys.executable, "-m", "pymailbox", "enqueue", str(file)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run(command, input=b"text", env=environment, capture_output=True, check=True)
    assert sorted(asyncio.run(list_mailboxes(f"sqlite:///{file}"))) == ["default", name]


async def test_slow_opening_holds_up_no_other_answer(where: str) -> None:
    async with open_mailbox(where) as inbox, open_mailbox(where) as one, open_mailbox(where) as two:
        nearby = Unsteady(inbox._nearby)
        is_opening, may_open = asyncio.Event(), asyncio.Event()

        async def open_slowly(name: str, **how: Any) -> Mailbox:
            if not is_opening.is_set():
                is_opening.set()
                await may_open.wait()
            mailbox: Mailbox = await nearby.really_open(name, **how)
            return mailbox

        nearby.really_open, nearby.open = nearby.open, open_slowly
        inbox._nearby = nearby
        async with answering(inbox, concurrency=2):
            slow = asyncio.ensure_future(ask(one, b"slow", timeout=20))
            await is_opening.wait()
            assert (await ask(two, b"quick", timeout=20)).payload == b"re: quick"
            may_open.set()
            assert (await slow).payload == b"re: slow"


async def test_mailbox_for_answers_that_another_handler_uses_stays_open(where: str) -> None:
    async with open_mailbox(where) as inbox:
        assert inbox._nearby is not None
        name = reply_mailboxes.name_of(reply_mailboxes.new_marker())
        await (await inbox._nearby.open(name)).close()
        replies = replying._Replies(inbox._nearby)
        first, second = await replies.borrow({name}), await replies.borrow({name})
        await replies.give_back(first)
        assert (await second[name].status()).queued_messages == 0
        assert await reply_mailboxes_at(where) == [name]
        await replies.give_back(second)
        assert await reply_mailboxes_at(where) == []
        await replies.end()


class SlowNearby:
    """Mailboxes of living askers, each of which closes only when allowed."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.closed: list[str] = []
        self.may_look, self.may_close = asyncio.Event(), asyncio.Event()
        self.may_look.set()

    async def names(self) -> list[str]:
        return ASKERS

    async def open(self, name: str, **_: Any) -> SlowMailbox:
        self.opened.append(name)
        return SlowMailbox(self, name)


class SlowMailbox:
    def __init__(self, nearby: SlowNearby, name: str) -> None:
        self._nearby, self._name = nearby, name

    async def get(self, _: object) -> object:
        await self._nearby.may_look.wait()
        return object()

    async def close(self) -> None:
        self._nearby.closed.append(self._name)
        await self._nearby.may_close.wait()


ASKERS: Final = [reply_mailboxes.name_of(UUID(int=0x7 << 76 | 0b10 << 62 | number)) for number in range(6)]


@pytest.fixture
def few_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replying, "MOST_IDLE", 1)


async def steps() -> None:
    """Lets everything run as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.usefixtures("few_idle")
async def test_answers_that_end_together_close_each_idle_mailbox_once() -> None:
    nearby = SlowNearby()
    replies = replying._Replies(nearby)  # type: ignore[arg-type]
    *others, last = [await replies.borrow({name}) for name in ASKERS]
    together = {name: mailbox for one in others for name, mailbox in one.items()}
    giving_back = [asyncio.ensure_future(replies.give_back(one)) for one in (together, last)]
    await steps()
    assert nearby.closed == ASKERS[:2]
    again = await replies.borrow({ASKERS[1]})
    nearby.may_close.set()
    await asyncio.gather(*giving_back)
    assert nearby.closed == ASKERS[:-1]
    await replies.give_back(again)
    await replies.end()
    assert sorted(nearby.closed) == sorted([*ASKERS, ASKERS[1]]) == sorted(nearby.opened)


@pytest.mark.usefixtures("few_idle")
async def test_mailbox_that_is_borrowed_again_meanwhile_stays_open() -> None:
    nearby = SlowNearby()
    replies = replying._Replies(nearby)  # type: ignore[arg-type]
    one, two, three, *_ = ASKERS
    borrowed = {name: (await replies.borrow({name}))[name] for name in (one, two, three)}
    giving_back = asyncio.ensure_future(replies.give_back(borrowed))
    await steps()
    assert nearby.closed == [one]
    again = [await replies.borrow({name}) for name in (one, two)]
    assert (nearby.opened, nearby.closed) == ([one, two, three, one], [one])
    nearby.may_close.set()
    await giving_back
    assert nearby.closed == [one]
    for each in again:
        await replies.give_back(each)
    await replies.end()
    assert sorted(nearby.closed) == sorted(nearby.opened)


@pytest.mark.usefixtures("few_idle")
async def test_mailbox_whose_borrowing_was_cancelled_is_idle() -> None:
    nearby = SlowNearby()
    nearby.may_close.set()
    replies = replying._Replies(nearby)  # type: ignore[arg-type]
    one, two, *_ = ASKERS
    nearby.may_look.clear()
    giving_back = asyncio.ensure_future(replies.give_back(await replies.borrow({one})))
    await steps()
    borrowing = asyncio.ensure_future(replies.borrow({one}))
    await steps()
    borrowing.cancel()
    await asyncio.wait([borrowing])
    nearby.may_look.set()
    await giving_back
    await replies.give_back(await replies.borrow({two}))
    assert nearby.closed == [one]
    await replies.end()


async def test_what_fails_after_an_answer_was_sent_is_logged(
    where: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_back = replying._Replies.give_back

    async def fail(self: replying._Replies, borrowed: dict[str, Mailbox]) -> None:
        await give_back(self, borrowed)
        raise RuntimeError("after the commit")

    monkeypatch.setattr(replying._Replies, "give_back", fail)
    async with open_mailbox(where) as mailbox, open_mailbox(where) as inbox, answering(inbox):
        assert (await ask(mailbox, b"tea", timeout=20)).payload == b"re: tea"
        await until(lambda: _is_empty(inbox))
    [error] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert (error.name, error.getMessage()) == ("pymailbox", "the mailboxes of askers could not be looked after")
    assert error.exc_info is not None
    assert str(error.exc_info[1]) == "after the commit"


@pytest.mark.parametrize("durability", ["strict", "relaxed"])
async def test_answers_are_as_durable_as_the_handle_unless_an_asker_waits(where: str, durability: Durability) -> None:
    opened: dict[bool, str] = {}
    async with (
        open_mailbox(where, durability=durability) as inbox,
        open_mailbox(beside(where, f"answers {uuid4()}")) as answers,
        open_mailbox(where) as asker,
    ):
        nearby = Unsteady(inbox._nearby)

        async def note(name: str, really_open: Any = nearby.open, **how: Any) -> Mailbox:
            mailbox: Mailbox = await really_open(name, **how)
            opened[reply_mailboxes.marker_of(name) is not None] = (await mailbox.storage_report()).durability
            return mailbox

        nearby.open = note
        inbox._nearby = nearby
        async with answering(inbox):
            await asker.enqueue(b"", b"", headers={"reply-to": answers.name})  # type: ignore[attr-defined]
            await ask(asker, b"", timeout=20)
    assert opened == {False: durability, True: "relaxed"}


async def test_living_askers_are_seldom_looked_at(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reply_mailboxes, "_NEW", -1)
    opened: list[str] = []
    async with AsyncExitStack() as handles:
        inbox = await handles.enter_async_context(open_mailbox(where))
        await handles.enter_async_context(answering(inbox))
        for _ in range(8):
            asker = await handles.enter_async_context(open_mailbox(where))
            nearby = Unsteady(asker._nearby)

            async def note(name: str, really_open: Any = nearby.open, **how: Any) -> Mailbox:
                opened.append(name)
                mailbox: Mailbox = await really_open(name, **how)
                return mailbox

            nearby.open = note
            asker._nearby = nearby
            await ask(asker, b"", timeout=20)
        await asyncio.sleep(0.05)
        assert max(Counter(opened).values()) <= 2, "its asker's opening, and one look"


async def test_any_error_while_an_asker_leaves_is_logged(where: str, caplog: pytest.LogCaptureFixture) -> None:
    async with open_mailbox(where) as inbox, answering(inbox):
        mailbox = await open_mailbox(where)
        nearby = Unsteady(mailbox._nearby, RuntimeError("no names"))

        async def fail(*_: Any) -> bool:
            raise RuntimeError("not deleted")

        nearby.delete = fail
        mailbox._nearby = nearby
        await ask(mailbox, b"", timeout=20)
        await asyncio.sleep(0.05)
        await mailbox.close()
    errors = [str(record.exc_info[1]) for record in caplog.records if record.exc_info]
    assert errors == ["no names", "not deleted"]
    for name in await reply_mailboxes_at(where):
        await delete_mailbox(beside(where, name))


async def test_question_is_stored_when_its_mailbox_for_answers_is_held(where: str) -> None:
    async with open_mailbox(where) as mailbox, open_mailbox(where) as inbox, answering(inbox):
        await ask(mailbox, b"", timeout=20)
        [name] = await reply_mailboxes_at(where)
        marker = reply_mailboxes.marker_of(name)
        assert mailbox._nearby is not None
        assert marker is not None
        enqueue = mailbox.enqueue
        held: list[object] = []

        async def note(*given: Any, **how: Any) -> Any:
            found = await answers.get(marker)
            held.append(isinstance(found, MessageRecord) and found.status)
            return await enqueue(*given, **how)

        async with await mailbox._nearby.open(name) as answers:
            mailbox.enqueue = note  # type: ignore[method-assign]
            assert await mailbox._nearby.delete(name)
            assert (await ask(mailbox, b"tea", timeout=20)).payload == b"re: tea"
        assert held == [MessageStatus.INFLIGHT]


@pytest.mark.parametrize("another_runs", [False, True])
def test_event_loop_that_is_closed_with_an_asker(
    where: str, another_runs: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> Mailbox:
        mailbox = await open_mailbox(where)
        async with open_mailbox(where) as inbox, answering(inbox):
            await ask(mailbox, b"", timeout=20)
        return mailbox

    async def collect() -> None:
        handles.clear()
        for _ in range(3):
            gc.collect()
            await asyncio.sleep(0.01)

    loop = asyncio.new_event_loop()
    handles = [loop.run_until_complete(work())]
    loop.close()
    unraisable: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda one: unraisable.append(str(one.exc_value)))
    warned: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", lambda message, *_: warned.append(str(message)))
        if another_runs:
            asyncio.run(collect())
        else:
            handles.clear()
            gc.collect()
    assert [text.partition(", opened at ")[0] for text in warned] == [
        "<MemoryMailbox " + repr(where.partition("//")[2]) + ">" if "memory" in where else "<SqliteMailbox 'inbox'>"
    ]
    assert (unraisable, [record.getMessage() for record in caplog.records]) == ([], [])
    [left] = asyncio.run(reply_mailboxes_at(where))
    assert asyncio.run(delete_mailbox(beside(where, left)))


# -- what is left behind -----------------------------------------------------------------------------------------------


async def test_answer_to_nobody_is_logged(where: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pymailbox")
    async with open_mailbox(where) as inbox:
        async with open_mailbox(where) as mailbox:
            with pytest.raises(TimeoutError, match=r"no answer came from .* within 0\.3 s; one that comes later is"):
                await ask(mailbox, b"late", timeout=0.3)
        async with answering(inbox):
            await until(lambda: _is_empty(inbox))
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("an answer was dropped, since its asker is gone: there is no mailbox pymailbox-replies-")


async def _is_empty(mailbox: Mailbox) -> bool:
    stats = await mailbox.status()
    return stats.queued_messages + stats.inflight_messages == 0


async def test_asker_that_is_collected(where: str) -> None:
    async with open_mailbox(where) as inbox, answering(inbox):
        mailbox = await open_mailbox(where)
        await ask(mailbox, b"", timeout=20)
        assert len(await reply_mailboxes_at(where)) == 1
        handles = [mailbox]
        del mailbox
        await let_be_collected(handles)

        async def is_gone() -> bool:
            return not await reply_mailboxes_at(where)

        await until(is_gone)


async def test_reply_mailbox_that_somebody_deleted(where: str) -> None:
    async with open_mailbox(where) as mailbox, open_mailbox(where) as inbox:
        async with answering(inbox):
            await ask(mailbox, b"", timeout=20)
        [name] = await reply_mailboxes_at(where)
        assert await delete_mailbox(beside(where, name))
        async with answering(inbox):
            assert (await ask(mailbox, b"tea", timeout=20)).payload == b"re: tea"
            assert await reply_mailboxes_at(where) == [name]
    assert await reply_mailboxes_at(where) == []


async def test_asker_of_a_faulty_mailbox_dies_with_it(where: str) -> None:
    async with open_mailbox(where) as inbox:
        asker = FaultyMailbox(await open_mailbox(where))
        question = asyncio.ensure_future(ask(asker, b"last", timeout=math.inf))
        await until(lambda: _has_message(inbox))
        await asker.die()
        with pytest.raises(MailboxClosedError, match="died"):
            await question
        [left] = await reply_mailboxes_at(where)
        async with open_mailbox(beside(where, left)) as answers:
            await answers.recover()
            stats = await answers.status()
            assert (stats.queued_messages, stats.inflight_messages) == (1, 0)
        assert await delete_mailbox(beside(where, left))


@pytest.mark.parametrize("found_out_by", ["a look", "the next question"])
async def test_question_whose_answer_was_deleted_ends(
    where: str, found_out_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "_LOOK_EVERY", 0.05 if found_out_by == "a look" else 1000.0)
    async with open_mailbox(where) as mailbox, open_mailbox(where) as inbox:
        question = asyncio.ensure_future(ask(mailbox, b"open", timeout=math.inf))
        await until(lambda: _has_message(inbox))
        await asyncio.sleep(0.2)
        assert not question.done(), "while its mailbox is there"
        [name] = await reply_mailboxes_at(where)
        assert await delete_mailbox(beside(where, name))
        async with answering(inbox):
            await until(lambda: _is_empty(inbox))
            if found_out_by == "the next question":
                assert (await ask(mailbox, b"tea", timeout=20)).payload == b"re: tea"
            with pytest.raises(TimeoutError, match="no answer can come any more"):
                await asyncio.wait_for(asyncio.shield(question), 10)
            assert (await ask(mailbox, b"tea", timeout=20)).payload == b"re: tea"
    assert await reply_mailboxes_at(where) == []


async def _has_message(mailbox: Mailbox) -> bool:
    return not await _is_empty(mailbox)


async def test_program_that_ends_without_closing(tmp_path: Path) -> None:
    script = """
import asyncio, sys, warnings
from pymailbox import ask, open_mailbox

warnings.simplefilter("ignore")

async def main():
    mailbox = await open_mailbox(sys.argv[1])
    try:
        await ask(mailbox, b"", timeout=0.05)
    except TimeoutError:
        print("nobody")

asyncio.run(main())
"""
    location = f"sqlite:///{tmp_path}/mail.db#inbox"
    async with open_mailbox(location) as inbox:
        assert await asyncio.to_thread(run_script, script, location) == "nobody\n"
        assert (await inbox.status()).queued_messages == 1
    assert await reply_mailboxes_at(location) == []


@pytest.mark.skipif(sys.platform == "win32", reason="kills a process")
async def test_asker_that_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = """
import asyncio, sys
from pymailbox import ask, open_mailbox

async def main():
    async with open_mailbox(sys.argv[1]) as mailbox:
        question = asyncio.ensure_future(ask(mailbox, b"from the dead", timeout=60))
        while not (await mailbox.status()).queued_messages:
            await asyncio.sleep(0.01)
        print("asked", flush=True)
        await question

asyncio.run(main())
"""
    location = f"sqlite:///{tmp_path}/mail.db#inbox"
    with subprocess.Popen([sys.executable, "-c", script, location], stdout=subprocess.PIPE) as process:  # noqa: ASYNC220
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == b"asked\n"
        [left] = await reply_mailboxes_at(location)
        async with open_mailbox(location) as mailbox, open_mailbox(location) as inbox:
            process.send_signal(signal.SIGKILL)
            process.wait()
            async with answering(inbox):
                monkeypatch.setattr(reply_mailboxes, "_NEW", -1)
                assert (await ask(mailbox, b"tea", timeout=20)).payload == b"re: tea"

                async def is_deleted() -> bool:
                    return left not in await reply_mailboxes_at(location)

                await until(is_deleted)
    assert await reply_mailboxes_at(location) == []


def test_names_of_reply_mailboxes() -> None:
    marker = reply_mailboxes.new_marker()
    name = reply_mailboxes.name_of(marker)
    assert (marker.version, marker.variant) == (7, "specified in RFC 4122")
    assert reply_mailboxes.marker_of(name) == marker
    assert not reply_mailboxes.may_be_left_over(name)
    old = reply_mailboxes.name_of(type(marker)(int=marker.int - (61_000 << 80)))
    assert reply_mailboxes.may_be_left_over(old)
    for other in ("inbox", f"{name}x", f"x{name}", name.replace("-7", "-4"), name.upper()):
        assert reply_mailboxes.marker_of(other) is None


async def test_command_line_means_no_mailbox_for_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    location = f"sqlite:///{tmp_path}/mail.db#inbox"
    async with open_mailbox(location) as mailbox, open_mailbox(location) as inbox, answering(inbox):
        await ask(mailbox, b"", timeout=20)
        await mailbox.enqueue(b"alice", b"still here", delay=60)
        assert await asyncio.to_thread(main, ["peek", str(tmp_path / "mail.db")]) == 0
        assert "still here" in capsys.readouterr().out
