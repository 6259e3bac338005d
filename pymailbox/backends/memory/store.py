"""One mailbox in memory: the core's ``Store``, in dictionaries; and who holds something of it."""

from __future__ import annotations

import asyncio
from collections import deque

from ...contract.values import MessageRecord
from ...core import claiming, store
from ...core.dictionaries import DictionaryStore


class Holder(store.Holder):
    """A handle as a consumer. It is gone when it is abandoned, or its event loop is closed."""

    def __init__(self, number: int, max_deliveries: int | None, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(number, max_deliveries)
        self.loop = loop
        self.died = False
        """Whether it went as if its process had ended; otherwise what it held counts as released."""
        self.abandoned: deque[Holder] = deque()
        """The list of its mailbox to which it adds itself when it is gone, once it has claimed something."""

    def abandon(self) -> None:
        """Takes no lock: a finaliser may run while its thread has it."""
        self.abandoned.append(self)


class Store(DictionaryStore):
    """A mailbox. Its methods, and the rules applied to it, are called with the database's lock held."""

    def __init__(self) -> None:
        super().__init__()
        self._holders: dict[asyncio.AbstractEventLoop, dict[int, Holder]] = {}
        """Holders that have claimed something, by event loop: whether they live is checked once for each loop."""
        self._abandoned: deque[Holder] = deque()

    # -- holders -------------------------------------------------------------------------------------------------------

    def claim(self, holder: Holder, limit: int, now: int) -> list[MessageRecord]:
        """Hands the next batch to a holder."""
        if holder.abandoned is not self._abandoned:
            holder.abandoned = self._abandoned
            self._holders.setdefault(holder.loop, {})[holder.number] = holder
        return claiming.claim(self, holder, limit, now)

    def recover(self, me: Holder | None, now: int) -> int:
        """Takes back what gone holders other than ``me`` had; returns how many messages there were.

        Its cost depends on how many event loops there are, not on how many holders.
        """
        gone: list[Holder] = []
        while self._abandoned:
            gone.append(self._abandoned.popleft())
        for loop, holders in self._holders.items():
            if (me is None or loop is not me.loop) and loop.is_closed():
                gone += holders.values()
        if not gone:
            return 0
        return sum(
            claiming.recover_from(self, holder.number, now)
            if holder.died
            else claiming.release_all(self, holder.number)
            for holder in gone
            if self._dismiss(holder)
        )

    def release_all(self, holder: Holder) -> int:
        """Takes back everything from a holder that will claim nothing more; returns how many messages there were."""
        self._dismiss(holder)
        return claiming.release_all(self, holder.number)

    def _dismiss(self, holder: Holder) -> bool:
        """Forgets a holder; returns whether it was known."""
        of_its_loop = self._holders.get(holder.loop, {})
        known = of_its_loop.pop(holder.number, None) is not None
        if known and not of_its_loop:
            del self._holders[holder.loop]
        self.known_live.discard(holder.number)
        holder.abandoned = deque()
        return known
