"""Who has the last word on a message: what a consumer was handed, and what handlers have settled themselves.

The mailbox's handle reports every settling verb that is called on it, whoever calls: a handler through its context, or
through the mailbox that it closes over. The backend knows what other handles do, and settles only what this one holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from uuid import UUID

from ..contract.values import MessageRecord


class Hold:
    """One hand-out of a message."""

    def __init__(self, record: MessageRecord) -> None:
        self.record = record
        self.settled_by: str | None = None
        """The verb with which somebody settled it."""
        self.handed_out_again = False
        """The message has come back to this consumer, so that this hand-out is over."""
        self.doubtful = False
        """A settling call has failed or was cancelled: nobody knows whether it took effect."""
        self.given_back = False
        """The page was left, so the message went back. Others may handle it, but it is already handled here: if it
        comes again, no second handler begins."""
        self._calls: set[asyncio.Future[None]] = set()

    @property
    def over(self) -> bool:
        """Whether there is nothing left to settle."""
        return self.settled_by is not None or self.handed_out_again

    @property
    def acked(self) -> bool:
        return self.settled_by is not None and self.settled_by.startswith("ack")

    async def calls_ended(self) -> None:
        """Waits for settling calls that are under way."""
        while self._calls:
            await asyncio.wait(self._calls)

    def settling(self, verb: str) -> Callable[[Any], None]:
        """A settling call begins; the function returned is called with its result, None if there was none."""
        call = asyncio.get_running_loop().create_future()
        self._calls.add(call)

        def on_result(answer: Any) -> None:
            if answer is None:
                self.doubtful = True
            elif answer and verb != "ack_many":
                self.settled_by = verb
            elif verb in ("ack", "ack_many"):  # after which nobody holds the message, whoever removed it
                self.settled_by = self.settled_by or verb
            self._calls.discard(call)
            call.set_result(None)

        return on_result


class Holds:
    """What a consumer was handed and has not settled yet."""

    def __init__(self) -> None:
        self._holds: dict[UUID, Hold] = {}

    def add(self, records: Iterable[MessageRecord]) -> list[MessageRecord]:
        """Records what was claimed, and returns what has to be handled: all except what is already being handled.

        A message that was made at another time has only got the id of an earlier one.
        """
        to_handle = []
        for record in records:
            if earlier := self._holds.get(record.id):
                same = earlier.record.created_at == record.created_at
                if earlier.given_back and not earlier.over and same:
                    earlier.given_back = False
                    continue
                earlier.handed_out_again = True
            self._holds[record.id] = Hold(record)
            to_handle.append(record)
        return to_handle

    def of(self, record: MessageRecord) -> Hold | None:
        """The hold on a message that was claimed, if it is not over."""
        hold = self._holds.get(record.id)
        return hold if hold is not None and hold.record is record and not hold.over else None

    def drop(self, records: Iterable[MessageRecord]) -> list[UUID]:
        """Forgets messages that go back, and returns their ids."""
        ids = []
        for record in records:
            hold = self._holds.get(record.id)
            if hold is not None and hold.record is record:
                del self._holds[record.id]
                if not hold.over:
                    ids.append(record.id)
        return ids

    def any_of(self, ids: Iterable[Any]) -> bool:
        """Whether one of these is a message that is held."""
        return any(isinstance(one, UUID) and one in self._holds for one in ids)

    def __iter__(self) -> Iterator[Hold]:
        return iter(self._holds.values())

    # -- told by the mailbox -------------------------------------------------------------------------------------------

    def settling(self, verb: str, ids: list[UUID]) -> Callable[[Any], None]:
        holds = [self._holds[one] for one in ids if isinstance(one, UUID) and one in self._holds]
        callbacks = [hold.settling(verb) for hold in holds]

        def on_result(answer: Any) -> None:
            for one in callbacks:
                one(answer)

        return on_result
