"""Common mistakes, and what they are told."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from pymailbox import (
    Backpressure,
    Context,
    Mailbox,
    MailboxOpening,
    MessageRecord,
    NewMessage,
    ask,
    export,
    open_mailbox,
    sync,
)

# -- an opening that nobody awaits -------------------------------------------------------------------------------------


async def opened(opening: MailboxOpening) -> None:
    """So that it does not complain."""
    await (await opening).close()


async def test_verb_of_an_opening() -> None:
    opening: Any = open_mailbox("memory://")
    with pytest.raises(
        AttributeError,
        match=r"'MailboxOpening' object has no attribute 'enqueue': await it, .* or use 'async with open_mailbox",
    ):
        opening.enqueue(b"alice", b"hello")
    assert not hasattr(opening, "dequeue")
    await opened(opening)


async def test_plain_with() -> None:
    opening: Any = open_mailbox("memory://")
    with pytest.raises(TypeError, match=r"'with' needs 'async' here: .*pymailbox\.sync\.open_mailbox\(\)"), opening:
        pass
    await opened(opening)


@pytest.mark.parametrize(
    "use",
    [
        lambda mailbox, opening: mailbox.ack_and_send(uuid4(), [(opening, NewMessage(b"", b""))]),
        lambda mailbox, opening: ask(opening, b"", timeout=1),
        lambda mailbox, opening: Backpressure(opening, pause_at=10),
        lambda mailbox, opening: anext(export(opening)),
    ],
    ids=["ack_and_send", "ask", "Backpressure", "export"],
)
async def test_opening_in_place_of_a_mailbox(use: Callable[[Mailbox, Any], Any]) -> None:
    opening = open_mailbox("memory://")
    async with open_mailbox("memory://") as mailbox:
        with pytest.raises((TypeError, AttributeError), match=r"await it, .*'async with"):
            await use(mailbox, opening)
    await opened(opening)


async def refusals(*sends: tuple[Any, ...]) -> list[str]:
    """The error of a handler that sends these; None stands for its own mailbox."""
    texts: list[str] = []

    def handler(message: MessageRecord, context: Context) -> None:
        for mailbox, *arguments in sends:
            with pytest.raises(TypeError) as caught:
                context.send(mailbox or context.mailbox, *arguments)
            texts.append(str(caught.value))
        context.stop()

    async with open_mailbox("memory://") as mailbox:
        await mailbox.enqueue(b"", b"")
        await mailbox.consume(handler)
    return texts


async def test_send_to_an_opening() -> None:
    opening: Any = open_mailbox("memory://")
    assert await refusals((opening, b"", b"")) == [
        "mailbox must be an open mailbox, not MailboxOpening: await it, or use it with 'async with'"
    ]
    await opened(opening)


def test_opening_that_nobody_awaits_says_where_it_was_made(tmp_path: Path) -> None:
    with pytest.warns(RuntimeWarning) as caught:
        open_mailbox(f"sqlite:///{tmp_path}/mail.db#inbox")
    [warning] = caught
    wanted = r"open_mailbox\(\) of sqlite://.*mail\.db#inbox was never awaited: await it, as in .*open_mailbox\("
    assert re.match(wanted, str(warning.message))
    code = test_opening_that_nobody_awaits_says_where_it_was_made.__code__
    assert (warning.filename, warning.lineno) == (__file__, code.co_firstlineno + 2)
    assert not (tmp_path / "mail.db").exists()


async def test_opening_that_is_used_or_refused_warns_of_nothing() -> None:
    async with open_mailbox("memory://"):
        pass
    await (await open_mailbox("memory://")).close()
    sync.open_mailbox("memory://").close()
    with pytest.raises(ValueError, match="batch_size"):
        open_mailbox("memory://", batch_size=0)
    gc.collect()  # warnings are errors here


# -- a text where bytes belong -----------------------------------------------------------------------------------------

TEXT: Any = "text"


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("sender", lambda mailbox: mailbox.enqueue(TEXT, b"")),
        ("payload", lambda mailbox: mailbox.enqueue(b"", TEXT)),
        ("payload", lambda mailbox: mailbox.enqueue(b"", TEXT, message_id=uuid4(), delay=1)),
        ("sender", lambda mailbox: mailbox.enqueue_json({}, sender=TEXT)),
        ("messages[1].payload", lambda mailbox: mailbox.enqueue_many([NewMessage(b"", b""), NewMessage(b"", TEXT)])),
        ("messages[0].sender", lambda mailbox: mailbox.enqueue_many([NewMessage.of_json({}, sender=TEXT)])),
        ("messages[0][1].payload", lambda mailbox: mailbox.ack_and_send(uuid4(), [(mailbox, NewMessage(b"", TEXT))])),
    ],
)
async def test_text_for_bytes(name: str, call: Callable[[Mailbox | sync.SyncMailbox], Any]) -> None:
    words = rf"^{re.escape(name)} must be bytes or another bytes-like value, not str; text\.encode\(\) turns text into"
    async with open_mailbox("memory://") as mailbox:
        with pytest.raises(TypeError, match=words):
            await call(mailbox)
        assert (await mailbox.status()).ever_queued == 0
    with sync.open_mailbox("memory://") as same, pytest.raises(TypeError, match=words):
        call(same)


async def test_text_for_bytes_in_a_handler() -> None:
    texts = await refusals((None, TEXT, b""), (None, b"", TEXT))
    assert [".encode()" in text for text in texts] == [True, True]
