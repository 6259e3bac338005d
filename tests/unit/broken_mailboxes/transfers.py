"""Bugs on the way into a file and out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pymailbox import MessagePriority, MessageStatus
from pymailbox.contract.archive import Adopted, Archive, Page, Section, WholeMessage
from tests.unit.broken_mailboxes._register import breaks
from tests.unit.example_mailboxes import Entry, SmallArchive, SmallMailbox


@breaks("transfer.export_has_everything_and_changes_nothing")
class ExportsWhatIsQueued(SmallMailbox):
    """What somebody holds is not in the export."""

    def _archive(self) -> Archive:
        class QueuedOnly(SmallArchive):
            def living(self, priority: MessagePriority) -> list[WholeMessage]:
                return [message for message in super().living(priority) if message.status is MessageStatus.QUEUED]

        return QueuedOnly(self)


@breaks("transfer.export_has_everything_and_changes_nothing")
class ExportsByDequeuing(SmallMailbox):
    def _archive(self) -> Archive:
        class Dequeuing(SmallArchive):
            def living(self, priority: MessagePriority) -> list[WholeMessage]:
                for entry in self.mailbox.queue():
                    self.mailbox.claim(entry)
                return super().living(priority)

        return Dequeuing(self)


@breaks("transfer.import_keeps_messages_and_their_order")
class ImportsBackwards(SmallMailbox):
    def _archive(self) -> Archive:
        class Backwards(SmallArchive):
            async def adopt(self, messages: Sequence[WholeMessage]) -> list[Adopted]:
                return (await super().adopt(messages[::-1]))[::-1]

        return Backwards(self)


@breaks("transfer.import_can_be_repeated")
class ImportsUnderNewIds(SmallMailbox):
    def _archive(self) -> Archive:
        class NewIds(SmallArchive):
            def adopt_one(self, message: WholeMessage) -> Adopted:
                return super().adopt_one(replace(message, id=self.mailbox.make_id()))

        return NewIds(self)


@breaks("transfer.broken_lines_are_refused")
class StoresNothingOfABrokenImport(SmallMailbox):
    """It takes only whole imports, judging by the number of messages."""

    def _archive(self) -> Archive:
        class AllOrNothing(SmallArchive):
            async def adopt(self, messages: Sequence[WholeMessage]) -> list[Adopted]:
                return await super().adopt(messages if len(messages) > 2 else [])

        return AllOrNothing(self)


@breaks("transfer.nothing_is_lost_on_the_way")
class ImportsAsNew(SmallMailbox):
    def _archive(self) -> Archive:
        class AsNew(SmallArchive):
            def entry(self, message: WholeMessage) -> Entry:
                return super().entry(replace(message, delivery_count=0))

        return AsNew(self)


@breaks("transfer.nothing_is_lost_on_the_way")
class ForgetsFailures(SmallMailbox):
    def _archive(self) -> Archive:
        class Forgetting(SmallArchive):
            def entry(self, message: WholeMessage) -> Entry:
                return super().entry(replace(message, failures=0))

        return Forgetting(self)


@breaks("transfer.nothing_is_lost_on_the_way")
class ImportsDelayedAtOnce(SmallMailbox):
    def _archive(self) -> Archive:
        class AtOnce(SmallArchive):
            def entry(self, message: WholeMessage) -> Entry:
                return super().entry(replace(message, due=None))

        return AtOnce(self)


@breaks("transfer.nothing_is_lost_on_the_way")
class ImportsLettersAsMessages(SmallMailbox):
    def _archive(self) -> Archive:
        class Reviving(SmallArchive):
            def adopt_one(self, message: WholeMessage) -> Adopted:
                return super().adopt_one(replace(message, death=None))

        return Reviving(self)


@breaks("transfer.export_goes_on_while_messages_move")
class SkipsBetweenPages(SmallMailbox):
    """A page ends before a message that the next one also leaves out."""

    def _archive(self) -> Archive:
        class Skipping(SmallArchive):
            async def page(self, section: Section, after: int, until: int | None) -> Page:
                whole = await super().page(section, 0, None)
                page = whole.messages[after : after + 500]
                return Page(page, min(after + 501, whole.until), whole.until)

        return Skipping(self)
