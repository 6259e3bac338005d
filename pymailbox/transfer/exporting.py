"""From a mailbox to lines."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ..contract.archive import Section
from ..contract.mailbox import Mailbox
from ..contract.values import MessagePriority
from ..runtime.turns import take_turn_if_due
from .lines import End, end_line, head_line, message_line, remembered_line

_IN_ORDER: tuple[Section, ...] = (None, *sorted(MessagePriority, reverse=True), None)
"""The dead letters come first, so that one that is redriven meanwhile is met again among the living; and once more at
the end, for those that have become dead letters meanwhile."""


async def export(mailbox: Mailbox) -> AsyncIterator[bytes]:
    """Everything that is in a mailbox, as lines of JSON: queued, delayed and inflight messages, dead letters, and the
    ids that stay known for a while (``dedupe_for``).

    It changes nothing and takes nothing from anybody. Others may use the mailbox meanwhile: each message appears as it
    was when its page was read, and a message that is there from the beginning to the end appears exactly once. Only a
    message that became a dead letter and was redriven while this ran may be missing. It reads a few MiB at a time,
    however much there is, and remembers only ids.

        with open("inbox.ndjson", "wb") as file:
            async for line in export(mailbox):
                file.write(line)

    Args:
        mailbox: an open mailbox. A backend of your own needs ``peek``, and its ids that stay known do not come.

    Yields:
        ASCII with a newline at the end: a head, a line for each message and each known id, and an end line. A file
        without that was cut off.

    Raises:
        MailboxError: as the verbs of the mailbox raise it.
    """
    archive = mailbox._archive()
    yield head_line()
    seen: set[bytes] = set()
    dead = 0
    for section in _IN_ORDER:
        page = await archive.page(section, 0, None)
        while True:
            for message in page.messages:
                if message.id.bytes in seen:
                    continue
                seen.add(message.id.bytes)
                dead += message.death is not None
                await take_turn_if_due()  # a page may be large
                yield message_line(message)
            if page.after >= page.until:
                break
            page = await archive.page(section, page.after, page.until)
    remembered, last = 0, None
    while ids := await archive.remembered(last):
        for known in ids:
            await take_turn_if_due()
            yield remembered_line(known)
        remembered, last = remembered + len(ids), ids[-1].id
    yield end_line(End(len(seen), dead, remembered))
