"""How calls share the commits of a mailbox on JetStream."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

pytest.importorskip("nats")

from pymailbox import StorageFullError
from pymailbox.backends.jetstream.replica import Replica
from pymailbox.backends.jetstream.writer import Call, Step, Writer


class FullWriter(Writer):
    """What stores something is refused, and its caller does not wait for that."""

    def __init__(self) -> None:
        super().__init__(cast(Replica, SimpleNamespace(name="a", link=None)))

    async def _settle_doubts(self) -> None: ...

    async def _commit_steps(self, calls: list[Call]) -> list[Call]:
        if isinstance(calls[0], Step):
            calls[0].future.cancel()
            raise StorageFullError("full")
        return calls

    async def _commit(self, calls: list[Call]) -> None:
        for call in calls:
            call.finish("done")


async def test_a_claim_does_not_fail_for_the_step_in_its_commit() -> None:
    loop = asyncio.get_running_loop()
    step: Any = object.__new__(Step)
    claim = Call(claims_for=1)
    for call in (step, claim):
        call.claims_for = None
        call.future = loop.create_future()
    await FullWriter()._try([step, claim])
    assert claim.future.result() == "done"
