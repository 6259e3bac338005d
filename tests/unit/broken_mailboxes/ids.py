"""Bugs in message ids."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from pymailbox.contract.arguments import Options, PreparedMessage
from tests.unit.broken_mailboxes._register import breaks
from tests.unit.example_mailboxes import Database, Entry, SmallMailbox


@breaks("message_ids.id_of_all_zeros", found_by_programs=True)
class ZeroIsNoId(SmallMailbox):
    """``if message_id.int``."""

    def put(self, message: PreparedMessage) -> tuple[UUID, bool]:
        absent = message.message_id is not None and not message.message_id.int
        return super().put(message._replace(message_id=None) if absent else message)


@breaks(
    "message_ids.id_is_kept_and_stored_once",
    "message_ids.first_message_under_an_id_stays",
    "message_ids.duplicates_in_one_batch",
    "message_ids.handles_share_ids",
    "message_ids.ids_survive_reopening",
    "message_ids.released_message_keeps_its_id",
    "observer.deduplicated_enqueue_is_no_call",
    found_by_programs=True,
)
class LastOneWins(SmallMailbox):
    """A message is overwritten by the next one with its id."""

    def put(self, message: PreparedMessage) -> tuple[UUID, bool]:
        if message.message_id is not None:
            self.store.pop(message.message_id, None)
        return super().put(message)


@breaks("message_ids.id_is_kept_and_stored_once", "message_ids.id_is_free_after_a_purge", found_by_programs=True)
class KnowsQueuedIdsOnly(SmallMailbox):
    def put(self, message: PreparedMessage) -> tuple[UUID, bool]:
        for entry in self.inflight():
            if entry.id == message.message_id:
                self.store[self.make_id()] = self.store.pop(entry.id)
        return super().put(message)


@breaks(
    "message_ids.id_is_free_after_its_ack",
    "message_ids.generated_id_can_be_sent_again",
    "message_ids.mailboxes_do_not_share_ids",
    "message_ids.generated_id_of_another_mailbox",
    found_by_programs=True,
)
class NeverForgetsAnId(SmallMailbox):
    """Remembers every id of all mailboxes together, for ever."""

    used: ClassVar[set[UUID]] = set()

    def put(self, message: PreparedMessage) -> tuple[UUID, bool]:
        if message.message_id in self.used:
            assert message.message_id is not None
            return message.message_id, False
        message_id, stored = super().put(message)
        self.used.add(message_id)
        return message_id, stored


@breaks(
    "message_ids.handles_share_ids",
    "message_ids.ids_survive_reopening",
    "message_ids.cancelled_enqueue_can_be_repeated",
)
class KnowsItsOwnIdsOnly(SmallMailbox):
    """Each handle has a cache of ids, filled when an enqueue returns."""

    def __init__(self, database: Database, name: str, options: Options) -> None:
        super().__init__(database, name, options)
        self.cache: set[UUID] = set()

    async def store_all(self, messages: list[PreparedMessage]) -> list[UUID]:
        hidden = {
            m.message_id: self.store.pop(m.message_id)
            for m in messages
            if m.message_id is not None and m.message_id in self.store and m.message_id not in self.cache
        }
        ids = await super().store_all(messages)
        self.store.update({self.make_id(): entry for entry in hidden.values()})
        await self.turn()
        self.cache.update(ids)
        return ids


@breaks("message_ids.duplicates_in_one_batch", "message_ids.ids_like_those_to_come_in_one_batch")
class LooksUpIdsBeforeTheBatch(SmallMailbox):
    """An id that comes twice in a batch is stored twice; its own ids are consecutive, and may be another message's."""

    async def store_all(self, messages: list[PreparedMessage]) -> list[UUID]:
        if len(messages) == 1:
            return await super().store_all(messages)
        known = set(self.store)
        ids = []
        newest = max((message_id.int for message_id in self.store), default=0)
        for place, message in enumerate(messages, 1):
            message_id = message.message_id or UUID(int=newest + place)
            ids.append(message_id)
            if message_id not in known:
                key = message_id if message_id not in self.store else self.make_id()
                self.store[key] = Entry(message_id, *message[:3], datetime.now())
        return ids
