"""Bugs in ack_and_send, the step from actor to actor."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any
from uuid import UUID

from pymailbox.contract.arguments import PreparedMessage
from tests.unit.broken_mailboxes._register import breaks
from tests.unit.example_mailboxes import SmallMailbox

Sends = list[tuple[Any, PreparedMessage]]


@breaks(
    "ack_and_send.it_acks_and_sends",
    "ack_and_send.own_mailbox_may_be_a_target",
    "ack_and_send.any_handle_of_a_target_will_do",
    "ack_and_send.many_messages_in_one_step",
    "ack_and_send.targets_waiters_wake",
    "ack_and_send.steps_both_ways_at_once",
    "ack_and_send.step_before_a_death_is_done",
    "ack_and_send.buffer_sent_is_taken_at_the_call",
    found_by_programs=True,
)
class AcksAndForgets(SmallMailbox):
    async def send_on(self, message_id: UUID, sends: Sends) -> bool:
        return await super().send_on(message_id, [])


@breaks(
    "ack_and_send.what_is_not_held_is_not_sent_on",
    "ack_and_send.it_happens_once",
    "ack_and_send.it_races_with_an_ack",
    "ack_and_send.message_may_go_on_under_its_own_id",
    "ack_and_send.cancelled_step_happened_or_did_not",
    "ack_and_send.closed_target_is_refused",
    "ack_and_send.mailbox_of_another_database_is_refused",
    "relaying.relay_that_comes_back_late_begins_anew",
    found_by_programs=True,
)
class SendsAndThenAcks(SmallMailbox):
    """One call after another."""

    async def send_on(self, message_id: UUID, sends: Sends) -> bool:
        for target, message in sends:
            target.enter()
            await target.store_all([message])
        return await self.ack(message_id)


@breaks("ack_and_send.nothing_to_send_is_an_ack", found_by_programs=True)
class NothingToSendIsNothingToDo(SmallMailbox):
    async def send_on(self, message_id: UUID, sends: Sends) -> bool:
        return bool(sends) and await super().send_on(message_id, sends)


@breaks(
    "ack_and_send.any_handle_of_a_target_will_do",
    "ack_and_send.many_messages_in_one_step",
    "ack_and_send.it_acks_and_sends",
    found_by_programs=True,
)
class OneMessageForEachTarget(SmallMailbox):
    async def send_on(self, message_id: UUID, sends: Sends) -> bool:
        return await super().send_on(message_id, list(dict(sends).items()))


@breaks(
    "ack_and_send.target_that_has_the_id_stores_nothing",
    "relaying.id_that_the_target_has_stops_nothing",
    found_by_programs=True,
)
class KnownIdStopsTheStep(SmallMailbox):
    async def send_on(self, message_id: UUID, sends: Sends) -> bool:
        if any(target is not self and target.knows(message.message_id) for target, message in sends):
            return False
        return await super().send_on(message_id, sends)


@breaks("ack_and_send.sent_message_may_have_a_delay", found_by_programs=True)
class SendsAtOnce(SmallMailbox):
    async def send_on(self, message_id: UUID, sends: Sends) -> bool:
        return await super().send_on(message_id, [(target, m._replace(delay_ms=0)) for target, m in sends])


@breaks("ack_and_send.closed_target_is_refused", "ack_and_send.mailbox_of_another_database_is_refused")
class ChecksNoTargets(SmallMailbox):
    def check_targets(self, targets: list[Any]) -> None:
        pass


@breaks("ack_and_send.bad_arguments_are_refused", "ack_and_send.buffer_sent_is_taken_at_the_call")
class SendsWhatIsThereLater(SmallMailbox):
    """Arguments are checked after the ack."""

    def ack_and_send(self, message_id: UUID, messages: Any) -> Coroutine[Any, Any, bool]:
        async def later() -> bool:
            entry = self.held_as(message_id)
            await self.ack(message_id)
            if entry is not None:
                self.store[message_id] = entry
            return await super(SendsWhatIsThereLater, self).ack_and_send(message_id, list(messages))

        return later()


@breaks("ack_and_send.targets_observers_are_told_once")
class TellsOfEachMessage(SmallMailbox):
    async def send_on(self, message_id: UUID, sends: Sends) -> bool:
        sent = await super().send_on(message_id, sends)
        for target, _ in sends:
            target.observe(len(target.waiting()))
        return sent
