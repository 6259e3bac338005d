"""Bugs in opening and closing."""

from __future__ import annotations

import asyncio
from typing import Any, Self

from pymailbox.contract.arguments import Options
from tests.unit.broken_mailboxes._register import breaks
from tests.unit.example_mailboxes import Database, SmallMailbox


@breaks("opening.second_handle_takes_nothing", found_by_programs=True)
class OpeningTakesLiveWork(SmallMailbox):
    """A newly opened handle gives back what others hold, as if they were gone."""

    @classmethod
    async def opened(cls, database: Database, name: str, options: Options) -> Self:
        mailbox = cls(database, name, options)
        for entry in mailbox.inflight():
            mailbox.give_back(entry)
        return mailbox


@breaks("opening.messages_survive_reopening", "names.odd_names_are_distinct", "message_ids.ids_survive_reopening")
class EndsWithItsHandle(SmallMailbox):
    """Nothing stored outlives the handle."""

    async def close(self) -> None:
        await super().close()
        self.store.clear()


@breaks("opening.opening_at_once_makes_one_mailbox")
class OpeningRaces(SmallMailbox):
    """Checks whether the mailbox exists, and makes it a moment later."""

    @classmethod
    async def opened(cls, database: Database, name: str, options: Options) -> Self:
        is_new = name not in database.stores
        await asyncio.sleep(0)
        mailbox = cls(database, name, options)
        if is_new:
            mailbox.store = database.stores[name] = {}
        return mailbox


@breaks(
    "closing.closed_handle_refuses_every_verb",
    "closing.async_with_closes",
    "waiting.wait_ends_when_the_handle_is_closed",
    found_by_programs=True,
)
class NeverClosed(SmallMailbox):
    async def close(self) -> None:
        await super().close()
        self._is_closed = False


@breaks("closing.close_twice_is_fine")
class ClosedOnce(SmallMailbox):
    async def close(self) -> None:
        self.enter()
        await super().close()


@breaks("closing.async_with_closes")
class SwallowsExceptions(SmallMailbox):
    async def __aexit__(self, *exception: Any) -> Any:
        await super().__aexit__(*exception)
        return True


@breaks("closing.closing_one_handle_leaves_the_others", "names.closing_one_mailbox_leaves_the_other")
class ClosesTheDatabase(SmallMailbox):
    async def close(self) -> None:
        self.database.stores["closed"] = {}
        await super().close()

    def enter(self) -> None:
        super().enter()
        if "closed" in self.database.stores:
            raise RuntimeError("the database is closed")


@breaks(
    "closing.close_lets_calls_under_way_finish",
    "closing.close_lets_every_verb_under_way_finish",
    "closing.close_against_every_verb",
)
class CloseCutsOff(SmallMailbox):
    """Calls under way find the connection closed."""

    async def turn(self) -> None:
        await super().turn()
        if self._is_closed and self._calls:
            raise ConnectionError("the connection was closed")


@breaks("release.calls_before_close_see_what_is_held", "release.close_during_a_dequeue_strands_nothing")
class CloseOvertakes(SmallMailbox):
    """Does not let calls under way finish."""

    async def close(self) -> None:
        under_way, self._calls = self._calls, 0
        await super().close()
        self._calls = under_way
