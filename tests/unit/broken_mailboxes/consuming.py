"""Bugs in consume, and in verbs where consume shows them."""

from __future__ import annotations

import asyncio
import functools
import inspect
import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any
from uuid import UUID

from pymailbox import Consumer, Context, MailboxClosedError, MailboxStats, MessageRecord, Reject, Retry, RetryPolicy
from pymailbox.actors.holds import Hold
from pymailbox.actors.stopping import Interruptions
from pymailbox.contract.arguments import PreparedMessage
from tests.unit.broken_mailboxes._register import breaks
from tests.unit.example_mailboxes import Entry, SmallMailbox, stats_of


async def _call(handler: Callable[..., Any], *arguments: Any) -> None:
    """Calls a handler of any kind, as ``consume`` does."""
    try:
        inspect.signature(handler).bind(*arguments)
    except TypeError:
        arguments = arguments[:1]
    result = handler(*arguments)
    if inspect.isawaitable(result):
        await result


class _Wrapping(SmallMailbox):
    """Wraps the handlers of its consumers."""

    def consume(self, handler: Any, **options: Any) -> Consumer:
        return super().consume(functools.partial(self.wrapped, handler), **options)

    async def wrapped(self, handler: Any, message: MessageRecord, context: Context) -> None:
        await _call(handler, message, context)


@breaks(
    "consuming.handled_messages_are_acked",
    "consuming.failed_message_comes_again",
    "consuming.cancelled_error_of_a_handler_is_a_failure",
)
class AcksNothingTogether(SmallMailbox):
    async def _ack_if_held(self, ids: list[UUID]) -> int:
        return len(ids)


@breaks("consuming.handlers_of_every_kind")
class OneArgumentForAll(_Wrapping):
    async def wrapped(self, handler: Any, message: MessageRecord, context: Context) -> None:
        await handler(message)


@breaks("consuming.default_of_a_handler_is_kept")
class ContextForAllThatHaveRoom(_Wrapping):
    """As ``_call`` sees it."""


@breaks("consuming.high_priority_is_handled_first", "consuming.failed_message_holds_back_its_sender")
class ClaimsFromTheEnd(SmallMailbox):
    def batch(self, queue: list[Entry], size: int) -> list[Entry]:
        return super().batch(queue[::-1], size)


@breaks("consuming.concurrency_is_kept")
class OneHandlerTooMany(SmallMailbox):
    def consume(self, handler: Any, *, concurrency: Any = 1, **options: Any) -> Consumer:
        return super().consume(handler, concurrency=concurrency + 1, **options)


@breaks("consuming.concurrency_is_kept", "consuming.senders_stay_in_order", "consuming.stop_is_clean")
class OneHandlerAtATime(SmallMailbox):
    def consume(self, handler: Any, *, concurrency: Any = 1, **options: Any) -> Consumer:
        return super().consume(handler, **options)


@breaks("consuming.consumers_share_a_mailbox")
class ClaimsForItselfAlone(SmallMailbox):
    """Does not see what others hold."""

    def queue(self) -> list[Entry]:
        return [entry for entry in self.store.values() if entry.holder is not self.holder]


@breaks("consuming.handlers_begin_in_order")
class BeginsEveryOtherHandlerLater(_Wrapping):
    async def wrapped(self, handler: Any, message: MessageRecord, context: Context) -> None:
        if message.payload in (b"m0", b"m2"):
            await asyncio.sleep(0)
        await _call(handler, message, context)


@breaks("consuming.sends_commit_with_the_ack", "asking.reply_commits_with_the_ack")
class SendsAndKeeps(SmallMailbox):
    async def send_on(self, message_id: UUID, sends: list[tuple[Any, PreparedMessage]]) -> bool:
        for target, message in sends:
            target.put(message)
        return True


@breaks("consuming.sends_commit_with_the_ack")
class KeepsTheBuffer(_Wrapping):
    """Sends what is in the caller's buffer when the handler has returned."""

    async def wrapped(self, handler: Any, message: MessageRecord, context: Context) -> None:
        later: list[tuple[Any, ...]] = []

        class Late(Context):
            def send(self, *arguments: Any, **keywords: Any) -> None:
                later.append(arguments)

        await _call(handler, message, Late(self, message, context))
        for arguments in later:
            context.send(*arguments)


@breaks("consuming.failed_handler_sends_nothing", "consuming.sends_commit_with_the_ack")
class SendsAtOnce(_Wrapping):
    async def wrapped(self, handler: Any, message: MessageRecord, context: Context) -> None:
        class Hasty(Context):
            def send(self, mailbox: Any, *arguments: Any, **keywords: Any) -> None:
                self.sending = asyncio.ensure_future(mailbox.enqueue(*arguments, **keywords))

        await _call(handler, message, Hasty(self, message, context))


@breaks(
    "consuming.failed_message_comes_again",
    "consuming.failures_end_with_a_dead_letter",
    "consuming.policy_has_a_limit_of_its_own",
    "consuming.cancelled_error_of_a_handler_is_a_failure",
    "consuming.failed_message_waits_in_the_queue",
    "consuming.failure_during_a_stop_counts",
)
class DropsWhatFailed(SmallMailbox):
    async def nack(self, message_id: UUID, *, delay: Any = None, error: Any = None, failed: Any = True) -> bool:
        return await self.ack(message_id)


@breaks("consuming.failed_message_waits_in_the_queue")
class TriesAgainAtOnce(SmallMailbox):
    async def nack(self, message_id: UUID, *, delay: Any = None, error: Any = None, failed: Any = True) -> bool:
        return await super().nack(message_id, error=error, failed=failed)


@breaks("consuming.cancelled_error_of_a_handler_is_a_failure")
class TakesEveryCancellationForItsOwn(_Wrapping):
    async def wrapped(self, handler: Any, message: MessageRecord, context: Context) -> None:
        try:
            await _call(handler, message, context)
        except asyncio.CancelledError:
            context.stop()
            raise


@breaks("consuming.failures_end_with_a_dead_letter")
class TellsNoError(SmallMailbox):
    async def nack(self, message_id: UUID, *, delay: Any = None, error: Any = None, failed: Any = True) -> bool:
        return await super().nack(message_id, delay=delay, failed=failed)


@breaks("consuming.policy_has_a_limit_of_its_own")
class KnowsItsOwnLimitOnly(SmallMailbox):
    def consume(self, handler: Any, *, retry: Any = None, **options: Any) -> Consumer:
        return super().consume(handler, retry=replace(retry or RetryPolicy(), max_deliveries=None), **options)


@breaks("consuming.retry_comes_again_after_its_delay", "consuming.retry_is_a_failed_delivery")
class RetriesAsThePolicySays(_Wrapping):
    """It does not know ``Retry``."""

    async def wrapped(self, handler: Any, message: MessageRecord, context: Context) -> None:
        try:
            await _call(handler, message, context)
        except Retry as retry:
            if retry.failed:
                raise RuntimeError("retry") from None
            raise


@breaks("consuming.retry_waits_in_the_queue")
class PutsOffNothing(_Wrapping):
    """A postponed message comes again at once."""

    async def wrapped(self, handler: Any, message: MessageRecord, context: Context) -> None:
        try:
            await _call(handler, message, context)
        except Retry as retry:
            raise Retry(0, failed=retry.failed) from retry


@breaks("consuming.sends_have_headers")
class SendsBodiesOnly(_Wrapping):
    async def wrapped(self, handler: Any, message: MessageRecord, context: Context) -> None:
        class Forgetful(Context):
            def send(self, mailbox: Any, *arguments: Any, headers: Any = None, **keywords: Any) -> None:
                context.send(mailbox, *arguments, **keywords)

        await _call(handler, message, Forgetful(self, message, context))


@breaks("consuming.retry_may_take_the_hand_out_back")
class CountsEveryRetry(_Wrapping):
    async def wrapped(self, handler: Any, message: MessageRecord, context: Context) -> None:
        try:
            await _call(handler, message, context)
        except Retry as retry:
            raise Retry(retry.delay) from retry


@breaks("consuming.retry_holds_back_its_sender")
class PutsOffAtTheEnd(_Wrapping):
    """A postponed message comes last."""

    async def wrapped(self, handler: Any, message: MessageRecord, context: Context) -> None:
        try:
            await _call(handler, message, context)
        except Retry:
            entry = self.store.pop(message.id)
            entry.holder = None
            self.store[message.id] = entry


@breaks("consuming.timeout_is_a_failed_delivery")
class ToleratesHandlersThatAreCancelled(_Wrapping):
    async def wrapped(self, handler: Any, message: MessageRecord, context: Context) -> None:
        try:
            await _call(handler, message, context)
        except asyncio.CancelledError:
            await self.ack(message.id)
            raise


@breaks("consuming.timeout_of_the_handlers_own")
class TakesEveryTimeoutForItsOwn(_Wrapping):
    async def wrapped(self, handler: Any, message: MessageRecord, context: Context) -> None:
        try:
            await _call(handler, message, context)
        except TimeoutError:
            raise TimeoutError("the handler took longer than 1000 s") from None


@breaks("consuming.timeout_waits_for_the_handlers_end", "consuming.timeout_is_a_failed_delivery")
class LeavesHandlersBehind(_Wrapping):
    """Does not wait for a handler that it has cancelled."""

    async def wrapped(self, handler: Any, message: MessageRecord, context: Context) -> None:
        running = asyncio.ensure_future(_call(handler, message, context))
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            running.cancel()
            raise


@breaks("consuming.rejected_message_is_a_dead_letter_at_once")
class TriesWhatWasRejected(_Wrapping):
    async def wrapped(self, handler: Any, message: MessageRecord, context: Context) -> None:
        try:
            await _call(handler, message, context)
        except Reject as rejection:
            raise RuntimeError from rejection


@breaks(
    "consuming.senders_stay_in_order",
    "consuming.failed_message_holds_back_its_sender",
    "consuming.sender_that_waits_is_in_nobodys_way",
)
class NoOrderBySender(SmallMailbox):
    def consume(self, handler: Any, *, ordered_by_sender: Any = False, **options: Any) -> Consumer:
        return super().consume(handler, **options)


@breaks("consuming.stop_is_clean", "consuming.cancellation_is_clean", "consuming.second_cancellation_ends_handlers")
class GivesBackAsFailed(SmallMailbox):
    async def _release(self, ids: list[UUID]) -> None:
        await asyncio.gather(*map(self.nack, ids))


@breaks(
    "consuming.stop_is_clean",
    "consuming.cancellation_is_clean",
    "consuming.second_cancellation_ends_handlers",
    "consuming.handler_can_stop_its_consumer",
    "consuming.failed_message_holds_back_its_sender",
    "consuming.sender_that_waits_is_in_nobodys_way",
    "consuming.what_cannot_begin_is_for_others",
    "consuming.however_many_wait_for_a_sender",
)
class GivesNothingBack(SmallMailbox):
    async def _release(self, ids: list[UUID]) -> None:
        pass


@breaks("consuming.slow_work_is_shared")
class Hoards(GivesNothingBack):
    """Takes everything, whatever was asked for."""

    async def dequeue(
        self, limit: int | None = None, *, wait: float | None = None, ack: Iterable[UUID] = ()
    ) -> list[MessageRecord]:
        return await super().dequeue(wait=wait, ack=ack)


@breaks("consuming.handler_can_stop_its_consumer")
class CannotBeStopped(_Wrapping):
    async def wrapped(self, handler: Any, message: MessageRecord, context: Context) -> None:
        class Deaf(Context):
            def stop(self) -> None:
                pass

        await _call(handler, message, Deaf(self, message, context))


@breaks("consuming.stop_ends_the_waiting")
class ClaimsOnWhenCancelled(SmallMailbox):
    async def dequeue(
        self, limit: int | None = None, *, wait: float | None = None, ack: Iterable[UUID] = ()
    ) -> list[MessageRecord]:
        return await asyncio.shield(super().dequeue(limit, wait=wait, ack=ack))


@breaks("consuming.failure_during_a_stop_counts")
class NeverMindWhenStopping(_Wrapping):
    async def wrapped(self, handler: Any, message: MessageRecord, context: Context) -> None:
        try:
            await _call(handler, message, context)
        except Exception:
            if not context.stopping:
                raise


@breaks("consuming.closing_the_mailbox_ends_it")
class ClosedIsAFault(SmallMailbox):
    async def dequeue(
        self, limit: int | None = None, *, wait: float | None = None, ack: Iterable[UUID] = ()
    ) -> list[MessageRecord]:
        try:
            return await super().dequeue(limit, wait=wait, ack=ack)
        except MailboxClosedError as error:
            raise OSError from error


@breaks("consuming.closed_mailbox_is_refused")
class OpenEnoughToCount(SmallMailbox):
    async def status(self) -> MailboxStats:
        return stats_of(self.store, self.dead)


@breaks("consuming.arguments_are_checked")
class TakesAnyConsumer(SmallMailbox):
    def consume(self, handler: Any, **options: Any) -> Consumer:
        try:
            return super().consume(handler, **options)
        except (TypeError, ValueError):
            return super().consume(print)


@breaks(
    "consuming.nack_by_hand_is_the_last_word",
    "consuming.ack_by_hand_is_the_last_word",
    "consuming.sends_follow_what_a_handler_settled",
    "consuming.ack_with_a_dequeue_is_the_last_word",
)
class AcksWhateverWasHandled(SmallMailbox):
    """Its consumers do not learn what handlers settle, and it does not check who holds a message."""

    def consume(self, handler: Any, **options: Any) -> Consumer:
        consumer = super().consume(handler, **options)
        consumer._holds.settling = lambda verb, ids: lambda answer: None  # type: ignore[method-assign]
        return consumer

    async def _ack_if_held(self, ids: list[UUID]) -> int:
        return await self.ack_many(ids)


@breaks("consuming.second_hand_out_is_settled_on_its_own")
class TakesEveryHandOutForOne(AcksWhateverWasHandled):
    """Nor do its consumers notice that they get a message again."""

    def consume(self, handler: Any, **options: Any) -> Consumer:
        consumer = super().consume(handler, **options)
        holds = consumer._holds._holds

        def add(records: Iterable[MessageRecord]) -> list[MessageRecord]:
            added = list(records)
            holds.update((record.id, Hold(record)) for record in added)
            return added

        consumer._holds.add = add  # type: ignore[method-assign]
        return consumer


@breaks("consuming.dead_letter_by_hand_is_the_last_word")
class BuriesWhatIsDead(SmallMailbox):
    async def dead_letter(self, message_id: UUID, reason: str) -> bool:
        buried = await super().dead_letter(message_id, reason)
        await self.redrive(message_id)
        return buried


@breaks("consuming.however_many_wait_for_a_sender")
class LooksNotFarAhead(SmallMailbox):
    """Holds no more than a few hundred messages."""

    async def dequeue(
        self, limit: int | None = None, *, wait: float | None = None, ack: Iterable[UUID] = ()
    ) -> list[MessageRecord]:
        if sum(entry.holder is self.holder for entry in self.store.values()) > 256:
            await asyncio.sleep(math.inf if wait is None else min(wait, 1000.0))
        return await super().dequeue(limit, wait=wait, ack=ack)


@breaks("consuming.repeated_cancellation_is_one")
class CountsEveryCancellation(SmallMailbox):
    def consume(self, handler: Any, **options: Any) -> Consumer:
        consumer = super().consume(handler, **options)
        interrupt = consumer._interrupt

        def interrupted() -> None:
            consumer._cancellations = Interruptions()
            interrupt()

        consumer._interrupt = interrupted  # type: ignore[method-assign]
        return consumer
