"""Bugs in status."""

from __future__ import annotations

from uuid import UUID

from pymailbox import MailboxStats, MessagePriority
from pymailbox.contract.arguments import Options, PreparedMessage
from tests.unit.broken_mailboxes._register import breaks
from tests.unit.example_mailboxes import Database, Entry, SmallMailbox

NORMAL = MessagePriority.NORMAL
HIGH = MessagePriority.HIGH


@breaks("status.empty_mailbox_has_zeros_for_every_priority", "status.counts_follow_every_verb")
class LeavesOutZeros(SmallMailbox):
    async def status(self) -> MailboxStats:
        stats = await super().status()
        by_priority = {priority: number for priority, number in stats.queued_by_priority.items() if number}
        return MailboxStats(stats.queued_messages, stats.inflight_messages, by_priority)


@breaks("status.handles_see_the_same_counts", "enqueue.committed_before_it_returns", found_by_programs=True)
class CountsWhenItOpens(SmallMailbox):
    """A handle knows only what was there when it was opened, and what it did itself."""

    def __init__(self, database: Database, name: str, options: Options) -> None:
        super().__init__(database, name, options)
        self.known = set(self.store)

    def put(self, message: PreparedMessage) -> tuple[UUID, bool]:
        message_id, stored = super().put(message)
        self.known.add(message_id)
        return message_id, stored

    def queue(self) -> list[Entry]:
        return [entry for entry in super().queue() if entry.id in self.known]

    async def status(self) -> MailboxStats:
        self.enter()
        queue = self.queue()
        high = sum(entry.priority is HIGH for entry in queue)
        return MailboxStats(len(queue), len(self.held()), {NORMAL: len(queue) - high, HIGH: high})


@breaks("status.counts_agree_while_others_work")
class StatusInTwoTransactions(SmallMailbox):
    async def status(self) -> MailboxStats:
        before = await super().status()
        await self.turn()
        after = await super().status()
        return MailboxStats(before.queued_messages, after.inflight_messages, before.queued_by_priority)
