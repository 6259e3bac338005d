"""Bugs that show in questions and answers."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

from pymailbox import Consumer, Context, Mailbox
from pymailbox.actors.reply_mailboxes import marker_of
from pymailbox.contract.arguments import PreparedMessage
from pymailbox.contract.companions import Companion, Unless
from pymailbox.contract.headers import pack_headers, unpack_headers
from tests.unit.broken_mailboxes._register import breaks
from tests.unit.example_mailboxes import Database, Neighbours, SmallMailbox


@breaks("asking.answer_is_the_reply")
class SendsOnInItsOwnName(SmallMailbox):
    async def send_on(self, message_id: UUID, sends: list[tuple[Any, PreparedMessage]]) -> bool:
        return await super().send_on(message_id, [(to, one._replace(sender=b"mailbox")) for to, one in sends])


@breaks(
    "asking.many_questions_share_a_mailbox",
    "asking.closing_ends_questions",
    "asking.death_of_an_asker",
    "relaying.closing_ends_a_relay",
)
class ForgetsWhatItOpened(SmallMailbox):
    """Does not know what was opened beside it."""

    @property
    def _companions(self) -> tuple[Companion, ...]:
        return ()

    @_companions.setter
    def _companions(self, companions: tuple[Companion, ...]) -> None: ...


@breaks("asking.many_questions_share_a_mailbox", "asking.cancelled_ask")
class MixesUpAnswers(SmallMailbox):
    """An answer gets the correlation id of the newest question."""

    newest = ""

    def put(self, message: PreparedMessage) -> tuple[UUID, bool]:
        headers = dict(unpack_headers(message.headers))
        if "reply-to" in headers:
            MixesUpAnswers.newest = headers["correlation-id"]
        elif "correlation-id" in headers:
            headers["correlation-id"] = MixesUpAnswers.newest
        return super().put(message._replace(headers=pack_headers(headers)))


class _WithNeighbours(SmallMailbox):
    neighbours: type[Neighbours]

    def __init__(self, database: Database, name: str, options: Any) -> None:
        super().__init__(database, name, options)
        self._nearby = self.neighbours(database)


@breaks("asking.askers_get_their_own_answers")
class OneMailboxForAllAskers(_WithNeighbours):
    class neighbours(Neighbours):  # noqa: N801
        async def open(self, name: str, *, relaxed: bool = False, lease: float | None = None) -> Mailbox:
            return await super().open(name if marker_of(name) is None else name[:20])

        async def names(self) -> list[str]:
            return [*await super().names(), *(f"pymailbox-replies-{uuid4()}" for _ in range(3))]


@breaks("asking.closing_ends_questions", "asking.answer_to_nobody", "asking.left_over_mailboxes_are_deleted")
class DeletesNothing(_WithNeighbours):
    class neighbours(Neighbours):  # noqa: N801
        async def delete(self, name: str, unless: Unless | None = None) -> bool:
            return True


@breaks("asking.marker_keeps_a_mailbox")
class LooksAndThenDeletes(_WithNeighbours):
    class neighbours(Neighbours):  # noqa: N801
        async def delete(self, name: str, unless: Unless | None = None) -> bool:
            kept = self.is_kept(name, unless)
            await asyncio.sleep(0)
            return not kept and self.delete_now(name)


@breaks("asking.reply_to_any_mailbox")
class ListsWhatThereIsNot(_WithNeighbours):
    class neighbours(Neighbours):  # noqa: N801
        async def names(self) -> list[str]:
            names = await super().names()
            return names + [f"{name}-missing" for name in names]


@breaks("asking.reply_commits_with_the_ack")
class RepliesAtOnce(SmallMailbox):
    def consume(self, handler: Any, **options: Any) -> Consumer:
        neighbours = Neighbours(self.database)

        class Hasty(Context):
            def reply(self, payload: Any, **keywords: Any) -> None:
                self.replying = asyncio.ensure_future(self.reply_now(bytes(payload)))

            async def reply_now(self, payload: bytes) -> None:
                asked = self.message.headers
                async with await neighbours.open(asked["reply-to"]) as answers:
                    headers = {"correlation-id": asked["correlation-id"]}
                    await answers.enqueue(b"", payload, headers=headers)

        async def hasty(message: Any, context: Context) -> None:
            await handler(message, Hasty(self, message, context))

        return super().consume(hasty, **options)


@breaks("asking.no_answer_in_time")
class HandsOutAnswersTwice(SmallMailbox):
    """A message with another's correlation id is also stored under a new one."""

    def put(self, message: PreparedMessage) -> tuple[UUID, bool]:
        stored = super().put(message)
        headers = unpack_headers(message.headers)
        if "correlation-id" in headers and "reply-to" not in headers:
            again = super().put(message)
            self.store[again[0]].due = 1e12
        return stored


@breaks("asking.same_question_again")
class StoresEveryQuestion(SmallMailbox):
    def put(self, message: PreparedMessage) -> tuple[UUID, bool]:
        return super().put(message._replace(message_id=None) if message.headers else message)


@breaks("asking.left_over_mailboxes_are_deleted", "asking.marker_keeps_a_mailbox")
class TakesAllForLeftOver(_WithNeighbours):
    """Nobody seems to hold anything in a reply mailbox."""

    class neighbours(Neighbours):  # noqa: N801
        def is_kept(self, name: str, unless: Unless | None) -> bool:
            return unless is not None and not unless.held_only and super().is_kept(name, unless)
