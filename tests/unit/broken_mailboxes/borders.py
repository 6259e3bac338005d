"""Bugs in ownership, names, arguments and the manifest."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, ClassVar, TypeVar
from urllib.parse import unquote
from uuid import UUID

from pymailbox import Capability, DeadLetter, MessageRecord, StorageReport, UnsupportedError
from pymailbox.contract.arguments import Options
from pymailbox.contract.limits import LARGEST_MESSAGE
from tests.unit.broken_mailboxes._register import breaks
from tests.unit.example_mailboxes import DEFAULTS, Database, SmallMailbox

T = TypeVar("T")


def int32(number: int) -> int:
    """A number cut to 32 bits with a sign."""
    return int.from_bytes(number.to_bytes(8)[4:], signed=True)


@breaks("ownership.another_event_loop_is_refused", "ownership.another_thread_is_refused")
class AnybodysHandle(SmallMailbox):
    @property
    def _loop(self) -> Any:
        return asyncio.get_running_loop()

    @_loop.setter
    def _loop(self, loop: Any) -> None:
        pass


@breaks("ownership.handle_cannot_be_pickled_or_copied")
class Copyable(SmallMailbox):
    def __reduce_ex__(self, protocol: Any) -> Any:
        return str, ()


@breaks("names.odd_names_are_distinct")
class CaseDoesNotMatter(SmallMailbox):
    def __init__(self, database: Database, name: str, options: Options) -> None:
        super().__init__(database, name.lower(), options)


@breaks("names.odd_names_are_distinct")
class NamesAreNormalized(SmallMailbox):
    def __init__(self, database: Database, name: str, options: Options) -> None:
        super().__init__(database, unicodedata.normalize("NFC", name), options)


@breaks("names.odd_names_are_distinct")
class DecodesTwice(SmallMailbox):
    def __init__(self, database: Database, name: str, options: Options) -> None:
        super().__init__(database, unquote(name), options)


@breaks(
    "names.mailboxes_are_apart",
    "concurrency.mailboxes_work_side_by_side",
    "message_ids.mailboxes_do_not_share_ids",
    found_by_programs=True,
)
class OneMailboxForAll(SmallMailbox):
    def __init__(self, database: Database, name: str, options: Options) -> None:
        super().__init__(database, "", options)


@breaks(
    "arguments.sender_must_be_bytes",
    "arguments.payload_must_be_bytes",
    "arguments.buffer_must_be_of_bytes",
    "arguments.message_holds_64_mib_at_most",
    "arguments.priority_must_be_one",
    "arguments.message_id_must_be_a_uuid",
    "arguments.messages_must_be_new_messages",
    "arguments.delay_must_not_be_negative",
    "arguments.id_to_ack_must_be_a_uuid",
    "arguments.ids_to_ack_must_be_uuids",
    "arguments.limit_must_be_positive",
    "arguments.status_to_peek_at_must_be_one",
    "arguments.nack_takes_seconds_and_text",
    "arguments.reason_must_be_text",
    "arguments.id_of_any_verb_must_be_a_uuid",
    "arguments.limit_of_dead_letters_must_be_positive",
    "ack_and_send.bad_arguments_are_refused",
    "enqueue_many.bad_message_in_the_middle",
)
class ErrorsNameNothing(SmallMailbox):
    def enqueue(self, *arguments: Any, **keywords: Any) -> Coroutine[Any, Any, UUID]:
        return _unnamed(super().enqueue, *arguments, **keywords)

    def enqueue_many(self, messages: Any) -> Coroutine[Any, Any, list[UUID]]:
        return _unnamed(super().enqueue_many, messages)

    async def take(self, limit: Any = None, ack: Sequence[UUID] = ()) -> list[MessageRecord]:
        return await _unnamed(super().take, limit)

    async def ack(self, message_id: Any) -> bool:
        return await _unnamed(super().ack, message_id)

    async def ack_many(self, ids: Any) -> int:
        return await _unnamed(super().ack_many, ids)

    async def peek(self, limit: Any = None, *, status: Any = None, offset: Any = 0) -> list[MessageRecord]:
        return await _unnamed(super().peek, limit, status=status, offset=offset)

    async def nack(self, message_id: Any, *, delay: Any = None, error: Any = None, failed: Any = True) -> bool:
        return await _unnamed(super().nack, message_id, delay=delay, error=error, failed=failed)

    async def dead_letter(self, message_id: Any, reason: Any) -> bool:
        return await _unnamed(super().dead_letter, message_id, reason)

    async def dead_letters(self, limit: Any = None, *, offset: Any = 0) -> list[DeadLetter]:
        return await _unnamed(super().dead_letters, limit, offset=offset)

    def ack_and_send(self, message_id: Any, messages: Any) -> Coroutine[Any, Any, bool]:
        return _unnamed(super().ack_and_send, message_id, messages)


async def _unnamed(verb: Callable[..., Coroutine[Any, Any, T]], *arguments: Any, **keywords: Any) -> T:
    try:
        return await verb(*arguments, **keywords)
    except (TypeError, ValueError) as error:
        raise type(error)("bad value") from error


@breaks("arguments.limit_must_be_positive", "arguments.wait_must_be_seconds", "arguments.observer_must_have_its_method")
class TakesAnything(SmallMailbox):
    async def dequeue(self, limit: Any = None, *, wait: Any = None, ack: Any = ()) -> list[MessageRecord]:
        return await super().dequeue(limit if isinstance(limit, int) and limit > 0 else None)

    def set_depth_observer(self, observer: Any) -> bool:
        self._observer = observer
        return True


@breaks("arguments.buffer_must_be_of_bytes")
class TakesAnyBuffer(SmallMailbox):
    """Stores whatever the memory of a value holds."""

    def enqueue(self, sender: Any, payload: Any, *arguments: Any, **keywords: Any) -> Coroutine[Any, Any, UUID]:
        with suppress(TypeError):
            sender, payload = bytes(memoryview(sender)), bytes(memoryview(payload))
        return super().enqueue(sender, payload, *arguments, **keywords)


@breaks("arguments.message_holds_64_mib_at_most")
class CutsWhatIsTooLarge(SmallMailbox):
    def enqueue(self, sender: Any, payload: Any, *arguments: Any, **keywords: Any) -> Coroutine[Any, Any, UUID]:
        return super().enqueue(sender, payload[: LARGEST_MESSAGE - len(sender)], *arguments, **keywords)


@breaks("arguments.message_holds_64_mib_at_most")
class HeadersWeighNothing(SmallMailbox):
    def enqueue(self, sender: Any, payload: Any, *arguments: Any, **keywords: Any) -> Coroutine[Any, Any, UUID]:
        if len(payload) == LARGEST_MESSAGE:
            keywords.pop("headers", None)
        return super().enqueue(sender, payload, *arguments, **keywords)


@breaks("arguments.lone_surrogates_are_stored_escaped")
class ReplacesLoneSurrogates(SmallMailbox):
    async def nack(self, message_id: Any, *, delay: Any = None, error: Any = None, failed: Any = True) -> bool:
        return await super().nack(
            message_id, delay=delay, error=error.encode("utf-8", "replace").decode(), failed=failed
        )


@breaks("arguments.largest_limit_takes_all")
class HasLimitsOf32Bits(SmallMailbox):
    async def take(self, limit: Any = None, ack: Sequence[UUID] = ()) -> list[MessageRecord]:
        return await super().take(limit and int32(limit), ack)


@breaks("arguments.largest_options_work")
class CountsDeliveriesIn32Bits(SmallMailbox):
    def __init__(self, database: Database, name: str, options: Options) -> None:
        most = options.max_deliveries
        super().__init__(database, name, options._replace(max_deliveries=most and int32(most)))


@breaks("manifest.what_is_claimed_works", "peek.peek_changes_nothing")
class ClaimsTooMuch(SmallMailbox):
    async def peek(self, limit: Any = None, *, status: Any = None, offset: Any = 0) -> list[MessageRecord]:
        raise UnsupportedError


@breaks("manifest.what_is_not_claimed_is_refused")
class ClaimsTooLittle(SmallMailbox):
    capabilities: ClassVar[frozenset[Capability]] = frozenset(Capability) - {Capability.PURGE}


@breaks("manifest.what_is_not_claimed_is_refused")
class InstallsAnObserverUnclaimed(SmallMailbox):
    capabilities: ClassVar[frozenset[Capability]] = frozenset(Capability) - {Capability.DEPTH_OBSERVER}


@breaks("manifest.capabilities_are_a_frozenset")
class ListsItsCapabilities(SmallMailbox):
    capabilities: ClassVar[Any] = set(Capability)


@breaks("arguments.options_must_make_sense")
class TakesAnyOption(SmallMailbox):
    @classmethod
    def checked(cls, options: dict[str, Any]) -> Options:
        return Options(**DEFAULTS | options)


@breaks("storage.report_says_what_was_asked_for", "storage.report_is_plain_data", "storage.request_persistence_answers")
class ReportsStrings(SmallMailbox):
    """Passes a platform's error on."""

    async def storage_report(self) -> StorageReport:
        self.enter()
        return StorageReport("default", "no", "0", "", "")  # type: ignore[arg-type]

    async def request_persistence(self) -> Any:
        self.enter()
        return "denied"
