"""``pymailbox.sync.ask``: questions and answers without ``await``, from any thread."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import assert_type
from uuid import uuid4

import pytest

import pymailbox
from pymailbox import MailboxClosedError, MessageRecord, sync
from pymailbox.sync import SyncContext, SyncMailbox


@pytest.fixture(params=["memory", "sqlite"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"memory://{uuid4()}" if request.param == "memory" else f"sqlite:///{tmp_path}/mail.db#inbox"


def echo(message: MessageRecord, context: SyncContext) -> None:
    if message.payload != b"quiet":
        context.reply(b"re: " + message.payload)


@contextmanager
def answering(location: str, concurrency: int) -> Iterator[None]:
    with sync.open_mailbox(location) as inbox:
        thread = threading.Thread(target=lambda: inbox.consume(echo, concurrency=concurrency))
        thread.start()
        try:
            yield
        finally:
            inbox.stop_consuming()
            thread.join()


def test_it_takes_what_the_awaited_one_takes() -> None:
    here, there = inspect.signature(sync.ask), inspect.signature(pymailbox.ask)
    assert list(here.parameters) == list(there.parameters)
    assert "Coroutine" not in str(here.return_annotation)


@pytest.mark.parametrize("concurrency", [1, 4])
def test_many_threads_ask(location: str, concurrency: int) -> None:
    with answering(location, concurrency), sync.open_mailbox(location) as mailbox, ThreadPoolExecutor(8) as pool:
        questions = [b"%d" % number for number in range(100)]
        answers = list(pool.map(lambda question: sync.ask(mailbox, question, timeout=20), questions))
        assert [answer.payload for answer in answers] == [b"re: " + question for question in questions]
        assert_type(answers[0], MessageRecord)


def test_nobody_answers(location: str) -> None:
    with answering(location, 1), sync.open_mailbox(location) as mailbox:
        with pytest.raises(TimeoutError, match="no answer came"):
            sync.ask(mailbox, b"quiet", timeout=0.05)
        assert sync.ask(mailbox=mailbox, payload=b"loud", timeout=20).payload == b"re: loud"


def test_bad_arguments(location: str) -> None:
    with sync.open_mailbox(location) as mailbox:
        with pytest.raises(TypeError, match="mailbox must be an open SyncMailbox, not str"):
            sync.ask("inbox", b"", timeout=1)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"payload must be bytes .* not str; text\.encode\(\)"):
            sync.ask(mailbox, "text", timeout=1)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="timeout must be"):
            sync.ask(mailbox, b"", timeout=0)


def test_close_ends_questions_of_other_threads(location: str) -> None:
    mailbox: SyncMailbox = sync.open_mailbox(location)
    with ThreadPoolExecutor(4) as pool:
        questions = [pool.submit(sync.ask, mailbox, b"quiet", timeout=60) for _ in range(4)]
        while mailbox.status().queued_messages < 4:
            pass
        mailbox.close()
        for question in questions:
            with pytest.raises(MailboxClosedError):
                question.result(20)
    left = [name for name in sync.list_mailboxes(location) if name.startswith("pymailbox-replies-")]
    assert left == []
