"""Bugs in the depth observer."""

from __future__ import annotations

import asyncio
from uuid import UUID

from pymailbox import MailboxDepthObserver
from pymailbox.contract.arguments import Options, PreparedMessage
from tests.unit.broken_mailboxes._register import breaks
from tests.unit.example_mailboxes import Database, Entry, Holder, SmallMailbox


@breaks("observer.three_enqueues_make_three_calls", "observer.observer_is_replaced_and_removed")
class TellsEveryObserverTwice(SmallMailbox):
    """Keeps old observers, and calls all of them both before and after the commit."""

    def __init__(self, database: Database, name: str, options: Options) -> None:
        super().__init__(database, name, options)
        self.observers: list[MailboxDepthObserver] = []

    def set_depth_observer(self, observer: MailboxDepthObserver | None) -> bool:
        self.observers += [] if observer is None else [observer]
        return super().set_depth_observer(observer)

    def observe(self, depth: int) -> None:
        for observer in self.observers:
            observer.on_depth_change(depth - 1)
            observer.on_depth_change(depth)


@breaks("observer.deduplicated_enqueue_is_no_call", "observer.other_verbs_are_no_calls", "observer.batch_is_one_call")
class TellsOfEveryCall(SmallMailbox):
    async def store_all(self, messages: list[PreparedMessage]) -> list[UUID]:
        ids = await super().store_all(messages)
        if len(messages) != 1 or messages[0].message_id is not None:
            self.observe(len(self.queue()))
        return ids

    async def ack(self, message_id: UUID) -> bool:
        self.observe(len(self.queue()))
        return await super().ack(message_id)


@breaks("observer.observer_is_told_what_is_queued", found_by_programs=True)
class TellsHowManyThereAre(SmallMailbox):
    def observe(self, depth: int) -> None:
        super().observe(len(self.store))


@breaks("observer.observer_that_raises_is_logged_and_harms_nothing")
class PassesTheObserversErrorOn(SmallMailbox):
    def observe(self, depth: int) -> None:
        if self._observer is not None:
            self._observer.on_depth_change(depth)


@breaks("observer.observer_that_raises_is_logged_and_harms_nothing")
class TakesTheObserversErrorForItsOwnCancellation(SmallMailbox):
    def observe(self, depth: int) -> None:
        try:
            super().observe(depth)
        finally:
            if depth == 2 and self._observer is not None:
                raise asyncio.CancelledError


@breaks("observer.observer_is_called_before_enqueue_returns", "observer.three_enqueues_make_three_calls")
class TellsLater(SmallMailbox):
    def observe(self, depth: int) -> None:
        asyncio.get_running_loop().call_later(0.001, super().observe, depth)


@breaks("observer.observer_hears_of_other_handles", "observer.redrive_is_a_call")
class TellsNobodyElse(SmallMailbox):
    def tell_others(self) -> None:
        pass


@breaks("observer.depth_counts_what_a_waiting_call_takes")
class TellsWhatIsLeft(SmallMailbox):
    """The depth is counted after waiting calls have taken something."""

    async def store_all(self, messages: list[PreparedMessage]) -> list[UUID]:
        observer, self._observer = self._observer, None
        try:
            ids = await super().store_all(messages)
        finally:
            self._observer = observer
        await asyncio.sleep(0.1)
        self.observe(len(self.waiting()))
        return ids


@breaks("observer.redrive_is_a_call")
class RedriveIsSilent(SmallMailbox):
    async def redrive(self, message_id: UUID) -> bool:
        observer, self._observer = self._observer, None
        try:
            return await super().redrive(message_id)
        finally:
            self._observer = observer


@breaks("observer.what_comes_back_is_no_call", "observer.other_verbs_are_no_calls")
class TellsOfEveryChange(SmallMailbox):
    """The depth is reported when it changes, for any reason."""

    def fail(self, entry: Entry, holder: Holder, cause: str) -> None:
        super().fail(entry, holder, cause)
        self.observe(len(self.waiting()))

    def give_back(self, entry: Entry) -> None:
        super().give_back(entry)
        self.tell_others()
