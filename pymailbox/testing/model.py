"""What a mailbox should do, written as plainly as possible: the judge of random programs.

It keeps everything in dictionaries and sorts whenever it is asked, and it shares no code with any backend. Each verb of
the contract is a method of ``Model`` that takes the consumer who called it, what the real mailbox answered, and the
arguments; it raises ``DisagreementError`` if that answer was not allowed.

Calls that run at once may take effect in any order, and their answers do not always tell in which. So the ``Judge``
keeps every model that explains all it has seen; when none is left, the mailbox was wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import permutations
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from ..contract.values import DeadLetter, MailboxStats, MessagePriority, MessageRecord, MessageStatus, NewMessage

SOON = 1.0
"""Seconds. A program waits until a shorter delay is over; a longer one is never over while it runs."""


class DisagreementError(Exception):
    """The mailbox answered something else than the model allows."""


class Consumer(NamedTuple):
    """A handle as the model knows it."""

    name: str
    mailbox: str
    batch_size: int | None
    """None for a mailbox that decides the size of its batches itself."""
    max_deliveries: int | None = None


class ModelMessage(NamedTuple):
    id: UUID
    sender: bytes
    payload: bytes
    priority: MessagePriority
    delay: float = 0.0
    """Seconds until it is due, from when it was queued; 0 once it is. No two messages of a program have the same."""
    holder: str | None = None
    """The consumer's name while the message is inflight."""
    alone: bool = False
    """It was handed out in a batch of its own."""
    suspect: bool = False
    """A holder died with it, and none has given it back alive since."""
    delivery_count: int = 0
    failures: int = 0
    error: str | None = None
    """What the last nack said that said anything."""
    created_at: datetime | None = None
    """Unknown until the mailbox has shown it, and the same ever after."""


class ModelLetter(NamedTuple):
    """A dead letter."""

    message: ModelMessage
    reason: str | None
    """None where the mailbox has to find words of its own."""
    death: int
    """Counts up. Those that died at once may come in any order."""


Depth: TypeAlias = int | None
"""What a verb tells the depth observer; None for nothing."""


class Model:
    """All mailboxes of one database."""

    def __init__(self) -> None:
        self.messages: dict[str, dict[UUID, ModelMessage]] = {}
        """By mailbox; those of a mailbox in the order of their commits."""
        self.letters: dict[str, dict[UUID, ModelLetter]] = {}
        """By mailbox."""
        self.made_ids: set[UUID] = set()
        """Ids that a mailbox made; it must not make one again."""

    def copy(self) -> Model:
        """Another model in the same state."""
        copy = Model()
        copy.messages = {mailbox: dict(messages) for mailbox, messages in self.messages.items()}
        copy.letters = {mailbox: dict(letters) for mailbox, letters in self.letters.items()}
        copy.made_ids = set(self.made_ids)
        return copy

    def fingerprint(self) -> Hashable:
        """Equal for two models that will agree about everything from now on."""
        living = tuple(sorted((mailbox, tuple(messages.values())) for mailbox, messages in self.messages.items()))
        dead = tuple(sorted((mailbox, frozenset(letters.values())) for mailbox, letters in self.letters.items()))
        return living, dead

    # -- looking -------------------------------------------------------------------------------------------------------

    def of(self, mailbox: str) -> dict[UUID, ModelMessage]:
        return self.messages.setdefault(mailbox, {})

    def dead(self, mailbox: str) -> dict[UUID, ModelLetter]:
        return self.letters.setdefault(mailbox, {})

    def ready(self, mailbox: str) -> list[ModelMessage]:
        """What can be handed out, in the order in which it is to be."""
        return _by_priority(m for m in self.of(mailbox).values() if m.holder is None and not m.delay)

    def next_batch(self, mailbox: str, size: int) -> list[ModelMessage]:
        """A suspect comes alone, and nothing that is behind it comes before it."""
        batch: list[ModelMessage] = []
        for message in self.ready(mailbox)[:size]:
            if batch and (message.suspect or batch[0].suspect):
                break
            batch.append(message)
        return batch

    def queued(self, mailbox: str) -> list[ModelMessage]:
        """What can be handed out, and what is delayed, by due time."""
        delayed = [m for m in self.of(mailbox).values() if m.holder is None and m.delay]
        return self.ready(mailbox) + sorted(delayed, key=lambda message: message.delay)

    def inflight(self, mailbox: str) -> list[ModelMessage]:
        return _by_priority(message for message in self.of(mailbox).values() if message.holder is not None)

    def held_by(self, caller: Consumer) -> list[ModelMessage]:
        return [message for message in self.of(caller.mailbox).values() if message.holder == caller.name]

    # -- verbs ---------------------------------------------------------------------------------------------------------

    def enqueue(
        self,
        caller: Consumer,
        answer: UUID,
        sender: bytes,
        payload: bytes,
        priority: MessagePriority = MessagePriority.NORMAL,
        *,
        message_id: UUID | None = None,
        delay: float | None = None,
    ) -> Depth:
        return self.enqueue_many(caller, [answer], [NewMessage(sender, payload, priority, message_id, delay)])

    def enqueue_many(self, caller: Consumer, answer: list[UUID], messages: Sequence[NewMessage]) -> Depth:
        _agree(len(answer), len(messages), "number of ids")
        mailbox = self.of(caller.mailbox)
        stored = False
        for returned, message in zip(answer, messages, strict=True):
            if message.message_id is None:
                if returned in mailbox or returned in self.dead(caller.mailbox) or returned in self.made_ids:
                    raise DisagreementError(
                        f"the mailbox made the id {returned} although it is or was another message's"
                    )
                self.made_ids.add(returned)
            else:
                _agree(returned, message.message_id, "returned id")
            stored |= self._store(caller.mailbox, returned, message)
        return len(self.queued(caller.mailbox)) if stored else None

    def dequeue(
        self,
        caller: Consumer,
        answer: list[MessageRecord],
        limit: int | None = None,
        *,
        wait: float | None = None,
        ack: Sequence[UUID] = (),
    ) -> None:
        for message_id in ack:
            self.of(caller.mailbox).pop(message_id, None)
        batch = self.next_batch(caller.mailbox, limit or caller.batch_size or max(1, len(answer)))
        self._agree_on_records(caller.mailbox, answer, _handed_out(batch, caller))

    def leave_messages(self, caller: Consumer, answer: list[MessageRecord]) -> None:
        """A loop that was left within its first batch: what it did not see has gone back as it was."""
        batch = self.next_batch(caller.mailbox, caller.batch_size or len(answer))
        self._agree_on_records(caller.mailbox, answer, _handed_out(batch, caller)[: len(answer)])

    def ack(self, caller: Consumer, answer: bool, message_id: UUID) -> None:
        removed = self.of(caller.mailbox).pop(message_id, None)
        _agree(answer, removed is not None, f"answer about {message_id}")

    def ack_many(self, caller: Consumer, answer: int, ids: Sequence[UUID]) -> None:
        mailbox = self.of(caller.mailbox)
        removed = [message_id for message_id in set(ids) if mailbox.pop(message_id, None) is not None]
        _agree(answer, len(removed), "number of messages removed")

    def ack_and_send(
        self, caller: Consumer, answer: bool, message_id: UUID, sends: Sequence[tuple[str, NewMessage]]
    ) -> None:
        """``sends`` names mailboxes, and each message has an id of its own."""
        _agree(answer, self._held(caller, message_id) is not None, f"answer about {message_id}")
        if answer:
            del self.of(caller.mailbox)[message_id]
            for mailbox, message in sends:
                if message.message_id is not None:
                    self._store(mailbox, message.message_id, message)

    def nack(
        self,
        caller: Consumer,
        answer: bool,
        message_id: UUID,
        *,
        delay: float | None = None,
        error: str | None = None,
    ) -> None:
        message = self._held(caller, message_id)
        _agree(answer, message is not None, f"answer about {message_id}")
        if message is not None:
            error = message.error if error is None else error
            given_back = message._replace(suspect=False, error=error, delay=delay or 0.0)
            self._fail(caller, given_back, self._next_death(caller.mailbox))

    def dead_letter(self, caller: Consumer, answer: bool, message_id: UUID, reason: str) -> None:
        message = self._held(caller, message_id)
        _agree(answer, message is not None, f"answer about {message_id}")
        if message is not None:
            self._bury(caller.mailbox, message, reason, self._next_death(caller.mailbox))

    def dead_letters(self, caller: Consumer, answer: list[DeadLetter], limit: int | None = None) -> None:
        letters = self.dead(caller.mailbox)
        newest_first = sorted(letters.values(), key=lambda letter: -letter.death)
        shown = newest_first[: limit or caller.batch_size or len(answer)]
        _agree(len(answer), len(shown), "number of dead letters")
        _agree(len({letter.record.id for letter in answer}), len(shown), "number of dead letters that differ")
        for letter, in_its_place in zip(answer, shown, strict=True):
            wanted = letters.get(letter.record.id)
            if wanted is None or wanted.death != in_its_place.death:
                raise DisagreementError(f"dead letter {letter.record.id} is shown in another's place")
            created_at = self._agree_on_record(letter.record, wanted.message, MessageStatus.INFLIGHT)
            _agree(letter.error, wanted.message.error, f"error of {letter.record.id}")
            if wanted.reason is not None:
                _agree(letter.reason, wanted.reason, f"reason of {letter.record.id}")
            elif not letter.reason:
                raise DisagreementError(f"dead letter {letter.record.id} has no reason")
            letters[letter.record.id] = wanted._replace(message=wanted.message._replace(created_at=created_at))

    def redrive(self, caller: Consumer, answer: bool, message_id: UUID) -> Depth:
        letter = self.dead(caller.mailbox).pop(message_id, None)
        _agree(answer, letter is not None, f"answer about {message_id}")
        if letter is None:
            return None
        old = letter.message
        new = ModelMessage(old.id, old.sender, old.payload, old.priority, created_at=old.created_at)
        self.of(caller.mailbox)[message_id] = new
        return len(self.queued(caller.mailbox))

    def discard(self, caller: Consumer, answer: bool, message_id: UUID) -> None:
        letter = self.dead(caller.mailbox).pop(message_id, None)
        _agree(answer, letter is not None, f"answer about {message_id}")

    def recover(self, caller: Consumer, answer: int) -> None:
        """Everybody who is gone has been found already, when its death was seen."""
        _agree(answer, 0, "number of messages recovered")

    def status(self, caller: Consumer, answer: MailboxStats) -> None:
        queued = self.queued(caller.mailbox)
        by_priority = {
            priority: sum(1 for message in queued if message.priority is priority) for priority in MessagePriority
        }
        _agree(dict(answer.queued_by_priority), by_priority, "queued messages by priority")
        _agree(answer.queued_messages, len(queued), "queued messages")
        _agree(answer.inflight_messages, len(self.inflight(caller.mailbox)), "inflight messages")
        _agree(answer.dead_letters, len(self.dead(caller.mailbox)), "dead letters")

    def peek(
        self,
        caller: Consumer,
        answer: list[MessageRecord],
        limit: int | None = None,
        *,
        status: MessageStatus | None = None,
    ) -> None:
        shown = []
        if status is not MessageStatus.INFLIGHT:
            shown += self.queued(caller.mailbox)
        if status is not MessageStatus.QUEUED:
            shown += self.inflight(caller.mailbox)
        size = limit or caller.batch_size or len(answer)
        self._agree_on_records(caller.mailbox, answer, shown[:size])

    def purge(self, caller: Consumer, answer: int) -> None:
        queued = self.queued(caller.mailbox)
        for message in queued:
            del self.of(caller.mailbox)[message.id]
        _agree(answer, len(queued), "number of messages deleted")

    def set_depth_observer(self, caller: Consumer, answer: bool, observer: object) -> None:
        _agree(answer, True, "answer")

    def close(self, caller: Consumer, answer: None) -> None:
        """What the consumer held is as if it had not been handed out."""
        for message in self.held_by(caller):
            self.of(caller.mailbox)[message.id] = message._replace(
                holder=None, delivery_count=message.delivery_count - 1
            )

    # -- what happens besides calls ------------------------------------------------------------------------------------

    def die(self, caller: Consumer, answer: None) -> None:
        """The consumer is gone, and others have found that out."""
        death = self._next_death(caller.mailbox)
        for message in self.held_by(caller):
            suspect = message._replace(suspect=True, holder=None)
            if message.alone:
                self._fail(caller, suspect, death)
            else:
                self.of(caller.mailbox)[message.id] = suspect

    def let_time_pass(self, caller: Consumer, answer: None) -> None:
        """Short delays are over, in all mailboxes."""
        for messages in self.messages.values():
            for message in list(messages.values()):
                if message.delay < SOON:
                    messages[message.id] = message._replace(delay=0.0)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _store(self, mailbox: str, message_id: UUID, message: NewMessage) -> bool:
        """Stores a message, unless there is one of that id."""
        if message_id in self.of(mailbox) or message_id in self.dead(mailbox):
            return False
        delay = message.delay.total_seconds() if isinstance(message.delay, timedelta) else message.delay or 0.0
        self.of(mailbox)[message_id] = ModelMessage(
            message_id, bytes(message.sender), bytes(message.payload), message.priority, delay
        )
        return True

    def _held(self, caller: Consumer, message_id: UUID) -> ModelMessage | None:
        message = self.of(caller.mailbox).get(message_id)
        return message if message is not None and message.holder == caller.name else None

    def _next_death(self, mailbox: str) -> int:
        return 1 + max((letter.death for letter in self.dead(mailbox).values()), default=0)

    def _fail(self, holder: Consumer, message: ModelMessage, death: int) -> None:
        """A delivery failed; it is queued again, or dead if that was one too many for who held it."""
        failed = message._replace(holder=None, failures=message.failures + 1)
        if holder.max_deliveries is not None and failed.failures >= holder.max_deliveries:
            self._bury(holder.mailbox, failed, None, death)
        else:
            self.of(holder.mailbox)[message.id] = failed

    def _bury(self, mailbox: str, message: ModelMessage, reason: str | None, death: int) -> None:
        del self.of(mailbox)[message.id]
        self.dead(mailbox)[message.id] = ModelLetter(message, reason, death)

    def _agree_on_records(self, name: str, answer: list[MessageRecord], wanted: list[ModelMessage]) -> None:
        """Compares what was shown with messages that are to be in the mailbox from now on."""
        # all of them first, and briefly: that one is missing or in another place tells more than where it differs
        _agree(
            [_label(record.payload) for record in answer], [_label(message.payload) for message in wanted], "payloads"
        )
        for record, message in zip(answer, wanted, strict=True):
            status = MessageStatus.QUEUED if message.holder is None else MessageStatus.INFLIGHT
            created_at = self._agree_on_record(record, message, status)
            self.of(name)[message.id] = message._replace(created_at=created_at)

    def _agree_on_record(self, record: MessageRecord, message: ModelMessage, status: MessageStatus) -> datetime:
        """Compares a record with the model's; returns its ``created_at``, which is known from now on."""
        created_at = message.created_at or record.created_at
        _agree(record.id, message.id, "id")
        _agree(record.sender, message.sender, f"sender of {message.id}")
        _agree(record.payload, message.payload, f"payload of {message.id}")
        _agree(record.priority, message.priority, f"priority of {message.id}")
        _agree(record.created_at, created_at, f"created_at of {message.id}")
        _agree(record.status, status, f"status of {message.id}")
        _agree(record.delivery_count, message.delivery_count, f"delivery_count of {message.id}")
        return created_at


class Seen(NamedTuple):
    """A call that was made, and what came of it."""

    caller: Consumer
    verb: str
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    answer: Any

    def replay(self, model: Model) -> Depth:
        method: Callable[..., Depth] = getattr(model, self.verb)
        return method(self.caller, self.answer, *self.arguments, **self.keywords)


class Judge:
    """Keeps every model that explains what was seen so far."""

    def __init__(self) -> None:
        self._models = [Model()]

    @property
    def model(self) -> Model:
        """One of those that explain everything; all of them agree unless the last calls ran at once."""
        return self._models[0]

    def see(self, *calls: Seen) -> Depth:
        """Calls that ran at once. Returns what the last one had to tell its observer.

        Raises:
            DisagreementError: no order of them explains the answers.
        """
        explained: dict[Hashable, Model] = {}
        first_doubt: DisagreementError | None = None
        depth: Depth = None
        for model in self._models:
            for order in _possible_orders(calls):
                after = model.copy()
                try:
                    depths = [call.replay(after) for call in order]
                except DisagreementError as doubt:
                    first_doubt = first_doubt or doubt
                else:
                    explained[after.fingerprint()] = after
                    depth = depths[-1]
        if not explained:
            raise first_doubt or DisagreementError("nothing explains this")
        self._models = list(explained.values())
        return depth


def _possible_orders(calls: Sequence[Seen]) -> Iterable[Sequence[Seen]]:
    """Enqueues of one handle keep their order, and its close comes after the calls that it made before."""
    for order in permutations(range(len(calls))):
        places = {call: place for place, call in enumerate(order)}
        if all(
            places[earlier] < places[later]
            for later in range(len(calls))
            for earlier in range(later)
            if _keeps_order(calls[earlier], calls[later])
        ):
            yield [calls[index] for index in order]


def _keeps_order(earlier: Seen, later: Seen) -> bool:
    if earlier.caller != later.caller:
        return False
    return later.verb == "close" or {earlier.verb, later.verb} <= {"enqueue", "enqueue_many"}


def _handed_out(batch: list[ModelMessage], consumer: Consumer) -> list[ModelMessage]:
    return [
        message._replace(holder=consumer.name, alone=len(batch) == 1, delivery_count=message.delivery_count + 1)
        for message in batch
    ]


def _by_priority(messages: Iterable[ModelMessage]) -> list[ModelMessage]:
    """The most urgent first; ``sorted`` leaves the order within a priority as it is."""
    return sorted(messages, key=lambda message: -message.priority)


def _label(payload: bytes) -> bytes:
    """What random programs begin a payload with."""
    return payload[:30].rstrip(b"\0")


def _agree(actual: object, wanted: object, what: str) -> None:
    if actual != wanted:
        raise DisagreementError(f"{what}: the model says {_brief(wanted)}, the mailbox {_brief(actual)}")


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 600 else f"{text[:400]} ... {text[-200:]}"
