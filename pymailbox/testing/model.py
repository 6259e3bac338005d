"""What a mailbox should do, written as plainly as possible: the judge of random programs.

It keeps everything in dictionaries, sorts on demand, and shares no code with any backend. Each verb of the contract is
a method of ``Model`` that takes the consumer who called it, the real mailbox's answer, and the arguments; it raises
``DisagreementError`` if that answer was not allowed. The model decides which messages an event happens to; the table in
``lifecycle`` says what it does to each, and who may cause it.

Calls that run at once may take effect in any order, and their answers do not always show which. So the ``Judge`` keeps
every model that explains everything it has seen; when none is left, the mailbox was wrong.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from ..contract.headers import NO_HEADERS, Headers
from ..contract.values import DeadLetter, MailboxStats, MessagePriority, MessageRecord, MessageStatus, NewMessage
from .lifecycle import COUNTED, Event, ImpossibleTransitionError, State, Transition, Who, transition, who_may

SOON = 1.0
"""Seconds. A program waits for a shorter delay to end; a longer one never ends while it runs."""


class DisagreementError(Exception):
    """The mailbox answered something other than the model allows."""


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
    """Seconds from its queueing until it is due; 0 once it is. No two messages of a program have the same."""
    holder: str | None = None
    """The consumer's name while the message is inflight."""
    alone: bool = False
    """It was handed out in a batch of its own."""
    suspect: bool = False
    """A holder died with it, and none has nacked it since."""
    delivery_count: int = 0
    failures: int = 0
    error: str | None = None
    """The last error that a nack gave."""
    created_at: datetime | None = None
    """Unknown until the mailbox has shown it, and fixed from then on."""
    headers: Headers = NO_HEADERS

    @property
    def state(self) -> State:
        """Unless it is a dead letter's."""
        if self.holder is not None:
            return State.INFLIGHT
        return State.DELAYED if self.delay else State.QUEUED


class ModelLetter(NamedTuple):
    """A dead letter."""

    message: ModelMessage
    reason: str | None
    """None if the mailbox has to word it itself."""
    death: int
    """Counts up. Messages that died at once may come in any order."""


Depth: TypeAlias = int | None
"""What a verb reports to the depth observer; None for nothing."""


class Model:
    """All mailboxes of one database."""

    def __init__(self) -> None:
        self.messages: dict[str, dict[UUID, ModelMessage]] = {}
        """By mailbox, in the order of commits."""
        self.letters: dict[str, dict[UUID, ModelLetter]] = {}
        """By mailbox."""
        self.made_ids: set[UUID] = set()
        """Ids that a mailbox made; it must not make one again."""
        self.remembered: dict[str, set[UUID]] = {}
        """By mailbox, ids that stay known whatever happens to their messages, for longer than any program runs."""
        self.ever_queued: defaultdict[str, int] = defaultdict(int)
        """By mailbox."""

    def copy(self) -> Model:
        """Another model in the same state."""
        copy = Model()
        copy.messages = {mailbox: dict(messages) for mailbox, messages in self.messages.items()}
        copy.letters = {mailbox: dict(letters) for mailbox, letters in self.letters.items()}
        copy.made_ids = set(self.made_ids)
        copy.remembered = {mailbox: set(ids) for mailbox, ids in self.remembered.items()}
        copy.ever_queued = self.ever_queued.copy()
        return copy

    def fingerprint(self) -> Hashable:
        """Equal for two models that will agree on everything from now on."""
        living = tuple(sorted((mailbox, tuple(messages.values())) for mailbox, messages in self.messages.items()))
        dead = tuple(sorted((mailbox, frozenset(letters.values())) for mailbox, letters in self.letters.items()))
        remembered = frozenset((mailbox, known) for mailbox, ids in self.remembered.items() for known in ids)
        return living, dead, remembered

    # -- looking -------------------------------------------------------------------------------------------------------

    def of(self, mailbox: str) -> dict[UUID, ModelMessage]:
        return self.messages.setdefault(mailbox, {})

    def dead(self, mailbox: str) -> dict[UUID, ModelLetter]:
        return self.letters.setdefault(mailbox, {})

    def counts(self, mailbox: str) -> Counter[str | None]:
        """The right value for each field of ``MailboxStats`` that counts messages."""
        counts = Counter(COUNTED[message.state] for message in self.of(mailbox).values())
        counts[COUNTED[State.DEAD]] += len(self.dead(mailbox))
        return counts

    def ready(self, mailbox: str) -> list[ModelMessage]:
        """What can be handed out, in the right order."""
        return _by_priority(m for m in self.of(mailbox).values() if m.state is State.QUEUED)

    def next_batch(self, mailbox: str, size: int) -> list[ModelMessage]:
        """A suspect comes alone, and nothing behind it comes earlier."""
        batch: list[ModelMessage] = []
        for message in self.ready(mailbox)[:size]:
            if batch and (message.suspect or batch[0].suspect):
                break
            batch.append(message)
        return batch

    def queued(self, mailbox: str) -> list[ModelMessage]:
        """What can be handed out, and what is delayed, by due time."""
        delayed = [m for m in self.of(mailbox).values() if m.state is State.DELAYED]
        return self.ready(mailbox) + sorted(delayed, key=lambda message: message.delay)

    def inflight(self, mailbox: str) -> list[ModelMessage]:
        return _by_priority(m for m in self.of(mailbox).values() if m.state is State.INFLIGHT)

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
        headers: Mapping[str, str] | None = None,
        dedupe_for: float | None = None,
    ) -> Depth:
        message = NewMessage(sender, payload, priority, message_id, delay, headers, dedupe_for)
        return self.enqueue_many(caller, [answer], [message])

    def enqueue_json(self, caller: Consumer, answer: UUID, value: Any, **keywords: Any) -> Depth:
        return self.enqueue_many(caller, [answer], [NewMessage.of_json(value, **keywords)])

    def enqueue_many(self, caller: Consumer, answer: list[UUID], messages: Sequence[NewMessage]) -> Depth:
        _agree(len(answer), len(messages), "number of ids")
        mailbox = self.of(caller.mailbox)
        observed = False
        for returned, message in zip(answer, messages, strict=True):
            if message.message_id is None:
                if returned in mailbox or returned in self.dead(caller.mailbox) or returned in self.made_ids:
                    raise DisagreementError(
                        f"the mailbox made the id {returned} although it is or was another message's"
                    )
                self.made_ids.add(returned)
            else:
                _agree(returned, message.message_id, "returned id")
            observed |= self._store(Event.ENQUEUE, caller.mailbox, returned, message)
        return self._depth(caller.mailbox) if observed else None

    def dequeue(
        self,
        caller: Consumer,
        answer: list[MessageRecord],
        limit: int | None = None,
        *,
        wait: float | None = None,
        ack: Sequence[UUID] = (),
    ) -> None:
        self._remove(caller, Event.ACK, ack)
        batch = self.next_batch(caller.mailbox, limit or caller.batch_size or max(1, len(answer)))
        self._agree_on_records(caller.mailbox, answer, self._hand_out(caller, batch))

    def leave_messages(self, caller: Consumer, answer: list[MessageRecord]) -> None:
        """A loop that was left within its first batch: what it did not see has gone back as it was."""
        batch = self.next_batch(caller.mailbox, caller.batch_size or len(answer))
        handed_out = self._hand_out(caller, batch)
        for message in handed_out[len(answer) :]:
            self._move(Event.RELEASE, caller.mailbox, message, State.QUEUED, caller)
        self._agree_on_records(caller.mailbox, answer, handed_out[: len(answer)])

    def ack(self, caller: Consumer, answer: bool, message_id: UUID) -> None:
        _agree(answer, self._remove(caller, Event.ACK, [message_id]) == 1, f"answer about {message_id}")

    def ack_many(self, caller: Consumer, answer: int, ids: Sequence[UUID]) -> None:
        _agree(answer, self._remove(caller, Event.ACK, ids), "number of messages removed")

    def ack_and_send(
        self, caller: Consumer, answer: bool, message_id: UUID, sends: Sequence[tuple[str, NewMessage]]
    ) -> None:
        """``sends`` names mailboxes, and each message has an id of its own."""
        _agree(answer, self._remove(caller, Event.ACK_AND_SEND, [message_id]) == 1, f"answer about {message_id}")
        if answer:
            for mailbox, message in sends:
                if message.message_id is not None:
                    sent_on = mailbox == caller.mailbox and message.message_id == message_id
                    self._store(Event.SEND, mailbox, message.message_id, message, sent_on)

    def nack(
        self,
        caller: Consumer,
        answer: bool,
        message_id: UUID,
        *,
        delay: float | None = None,
        error: str | None = None,
        failed: bool = True,
    ) -> None:
        message = self._subject(caller, Event.NACK, message_id)
        _agree(answer, message is not None, f"answer about {message_id}")
        if message is not None:
            message = message._replace(error=message.error if error is None else error)
            if not failed:
                state = State.DELAYED if delay else State.QUEUED
                self._move(Event.DEFER, caller.mailbox, message, state, caller, delay=delay or 0.0)
                return
            self._fail(caller, Event.NACK, message, self._next_death(caller.mailbox), delay or 0.0)

    def dead_letter(self, caller: Consumer, answer: bool, message_id: UUID, reason: str) -> None:
        message = self._subject(caller, Event.DEAD_LETTER, message_id)
        _agree(answer, message is not None, f"answer about {message_id}")
        if message is not None:
            death = self._next_death(caller.mailbox)
            self._move(Event.DEAD_LETTER, caller.mailbox, message, State.DEAD, caller, reason=reason, death=death)

    def dead_letters(
        self, caller: Consumer, answer: list[DeadLetter], limit: int | None = None, *, offset: int = 0
    ) -> None:
        letters = self.dead(caller.mailbox)
        newest_first = sorted(letters.values(), key=lambda letter: -letter.death)
        shown = newest_first[offset:][: limit or caller.batch_size or len(answer)]
        _agree(len(answer), len(shown), "number of dead letters")
        _agree(len({letter.record.id for letter in answer}), len(shown), "number of dead letters that differ")
        for letter, in_its_place in zip(answer, shown, strict=True):
            wanted = letters.get(letter.record.id)
            if wanted is None or wanted.death != in_its_place.death:
                raise DisagreementError(f"dead letter {letter.record.id} is shown in another's place")
            self._agree_on_letter(caller.mailbox, letter, wanted)

    def _agree_on_letter(self, mailbox: str, letter: DeadLetter, wanted: ModelLetter) -> None:
        created_at = self._agree_on_record(letter.record, wanted.message, MessageStatus.INFLIGHT)
        _agree(letter.error, wanted.message.error, f"error of {letter.record.id}")
        if wanted.reason is not None:
            _agree(letter.reason, wanted.reason, f"reason of {letter.record.id}")
        elif not letter.reason:
            raise DisagreementError(f"dead letter {letter.record.id} has no reason")
        self.dead(mailbox)[letter.record.id] = wanted._replace(message=wanted.message._replace(created_at=created_at))

    def redrive(self, caller: Consumer, answer: bool, message_id: UUID) -> Depth:
        message = self._subject(caller, Event.REDRIVE, message_id)
        _agree(answer, message is not None, f"answer about {message_id}")
        if message is None:
            return None
        new = message._replace(error=None)
        observed = self._move(Event.REDRIVE, caller.mailbox, new, State.QUEUED, caller).observed
        return self._depth(caller.mailbox) if observed else None

    def discard(self, caller: Consumer, answer: bool, message_id: UUID) -> None:
        _agree(answer, self._remove(caller, Event.DISCARD, [message_id]) == 1, f"answer about {message_id}")

    def recover(self, caller: Consumer, answer: int) -> None:
        """All gone holders have already been found, when their deaths were seen."""
        _agree(answer, 0, "number of messages recovered")

    def status(self, caller: Consumer, answer: MailboxStats) -> None:
        queued = self.queued(caller.mailbox)
        by_priority = {
            priority: sum(1 for message in queued if message.priority is priority) for priority in MessagePriority
        }
        _agree(dict(answer.queued_by_priority), by_priority, "queued messages by priority")
        counts = self.counts(caller.mailbox)
        for field in sorted({field for field in COUNTED.values() if field is not None}):
            _agree(getattr(answer, field), counts[field], field)
        delayed = [message.delay for message in queued if message.delay]
        sure = sum(delay >= SOON for delay in delayed)
        if not sure <= answer.delayed_messages <= len(delayed):
            raise DisagreementError(f"delayed messages: {answer.delayed_messages}, not {sure} to {len(delayed)}")
        # a mailbox with only the core verbs says 0; a check makes sure that one that counts does not
        if 0 < answer.ever_queued < self.ever_queued[caller.mailbox]:
            raise DisagreementError(
                f"ever queued: {answer.ever_queued}, not {self.ever_queued[caller.mailbox]} or more"
            )
        self._agree_on_oldest(caller.mailbox, answer.oldest_queued_at)

    def _agree_on_oldest(self, mailbox: str, oldest: datetime | None) -> None:
        """The first committed message of each priority; of these the one with the earliest ``created_at``."""
        first: dict[MessagePriority, ModelMessage] = {}
        for message in self.of(mailbox).values():
            if message.holder is None:
                first.setdefault(message.priority, message)
        if not first or oldest is None:
            _agree(oldest is None, not first, "whether no message is the oldest")
            return
        known = [message.created_at for message in first.values() if message.created_at is not None]
        if len(known) == len(first):
            _agree(oldest, min(known), "oldest_queued_at")
        elif known and oldest > min(known):
            raise DisagreementError(f"oldest_queued_at: {oldest}, although one is of {min(known)}")

    def peek(
        self,
        caller: Consumer,
        answer: list[MessageRecord],
        limit: int | None = None,
        *,
        status: MessageStatus | None = None,
        offset: int = 0,
    ) -> None:
        shown = []
        if status is not MessageStatus.INFLIGHT:
            shown += self.queued(caller.mailbox)
        if status is not MessageStatus.QUEUED:
            shown += self.inflight(caller.mailbox)
        size = limit or caller.batch_size or len(answer)
        self._agree_on_records(caller.mailbox, answer, shown[offset:][:size])

    def get(self, caller: Consumer, answer: MessageRecord | DeadLetter | None, message_id: UUID) -> None:
        state, message = self._look_up(caller.mailbox, message_id)
        _agree(_kind_of(answer), _KINDS[state], f"what there is of {message_id}")
        if isinstance(answer, DeadLetter):
            self._agree_on_letter(caller.mailbox, answer, self.dead(caller.mailbox)[message_id])
        elif answer is not None and message is not None:
            self._agree_on_records(caller.mailbox, [answer], [message])

    def promote(self, caller: Consumer, answer: int, ids: Sequence[UUID] | None = None) -> None:
        promoted = 0
        for message_id in list(self.of(caller.mailbox)) if ids is None else ids:
            message = self._subject(caller, Event.PROMOTE, message_id)
            if message is not None:
                self._move(Event.PROMOTE, caller.mailbox, message, State.QUEUED, caller)
                promoted += 1
        _agree(answer, promoted, "number of messages promoted")

    def purge(self, caller: Consumer, answer: int) -> None:
        _agree(answer, self._remove(caller, Event.PURGE, list(self.of(caller.mailbox))), "number of messages deleted")

    def set_depth_observer(self, caller: Consumer, answer: bool, observer: object) -> None:
        _agree(answer, True, "answer")

    def close(self, caller: Consumer, answer: None) -> None:
        """What the consumer held is as if it had not been handed out."""
        for message in self.held_by(caller):
            self._move(Event.RELEASE, caller.mailbox, message, State.QUEUED, caller)

    # -- what happens besides calls ------------------------------------------------------------------------------------

    def die(self, caller: Consumer, answer: None) -> None:
        """The consumer is gone, and others have noticed."""
        death = self._next_death(caller.mailbox)
        for message in self.held_by(caller):
            if message.alone:
                self._fail(caller, Event.SOLO_DEATH, message, death)
            else:
                self._move(Event.DEATH, caller.mailbox, message, State.QUEUED)

    def let_time_pass(self, caller: Consumer, answer: None) -> None:
        """Short delays are over, in all mailboxes."""
        for mailbox, messages in self.messages.items():
            for message in list(messages.values()):
                if message.state is State.DELAYED and message.delay < SOON:
                    self._move(Event.DUE, mailbox, message, State.QUEUED)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _look_up(self, mailbox: str, message_id: UUID) -> tuple[State, ModelMessage | None]:
        if (message := self.of(mailbox).get(message_id)) is not None:
            return message.state, message
        if (letter := self.dead(mailbox).get(message_id)) is not None:
            return State.DEAD, letter.message
        return State.ABSENT, None

    def _subject(self, caller: Consumer, event: Event, message_id: UUID) -> ModelMessage | None:
        """The message, if a caller can make the event happen to it."""
        state, message = self._look_up(caller.mailbox, message_id)
        who = who_may(event, state)
        if message is None or who is None or (who is Who.HOLDER and message.holder != caller.name):
            return None
        return message

    def _move(
        self,
        event: Event,
        mailbox: str,
        message: ModelMessage,
        to: State,
        caller: Consumer | None = None,
        *,
        delay: float = 0.0,
        alone: bool = False,
        reason: str | None = None,
        death: int = 0,
    ) -> Transition:
        """The one way in which messages move, following the table.

        ``alone`` is for a message that is handed out, ``reason`` and ``death`` for one that becomes a dead letter.
        """
        messages, letters = self.of(mailbox), self.dead(mailbox)
        before, _ = self._look_up(mailbox, message.id)
        row = transition(event, before, to)
        if row.who is Who.HOLDER and (caller is None or caller.name != message.holder):
            raise ImpossibleTransitionError(f"{event} is for the holder of a message")
        moved = message._replace(
            holder=caller.name if caller is not None and to is State.INFLIGHT else None,
            delay=delay,
            alone=alone,
            suspect=row.suspect.of(message.suspect),
            delivery_count=row.deliveries.of(message.delivery_count),
            failures=row.failures.of(message.failures),
        )
        if to in (State.ABSENT, State.DEAD):
            messages.pop(message.id, None)
        else:
            messages[message.id] = moved
        if to is State.DEAD:
            letters[message.id] = ModelLetter(moved, reason, death)
        else:
            letters.pop(message.id, None)
        self.ever_queued[mailbox] += row.observed
        after, _ = self._look_up(mailbox, message.id)
        if after is not to:
            raise ImpossibleTransitionError(f"{event} left a message {after} that should be {to}")
        return row

    def _store(self, event: Event, mailbox: str, message_id: UUID, message: NewMessage, sent_on: bool = False) -> bool:
        """Stores a message, unless there is one with that id; returns whether the depth observer is called.

        A remembered id does not keep out a message that is sent on under its own.
        """
        state, _ = self._look_up(mailbox, message_id)
        # one that the mailbox makes itself is new, even if a sender once gave it
        is_known = message.message_id is not None and message_id in self.remembered.get(mailbox, ()) and not sent_on
        if is_known or who_may(event, state) is None:
            return False
        if message.dedupe_for:
            self.remembered.setdefault(mailbox, set()).add(message_id)
        delay = message.delay.total_seconds() if isinstance(message.delay, timedelta) else message.delay or 0.0
        new = ModelMessage(
            message_id,
            bytes(message.sender),
            bytes(message.payload),
            message.priority,
            headers=Headers(message.headers) if message.headers else NO_HEADERS,
        )
        return self._move(event, mailbox, new, State.DELAYED if delay else State.QUEUED, delay=delay).observed

    def _remove(self, caller: Consumer, event: Event, ids: Sequence[UUID]) -> int:
        """Removes the messages to which the event can happen; returns how many there were."""
        removed = 0
        for message_id in ids:
            message = self._subject(caller, event, message_id)
            if message is not None:
                self._move(event, caller.mailbox, message, State.ABSENT, caller)
                removed += 1
        return removed

    def _hand_out(self, caller: Consumer, batch: list[ModelMessage]) -> list[ModelMessage]:
        for message in batch:
            self._move(Event.DEQUEUE, caller.mailbox, message, State.INFLIGHT, caller, alone=len(batch) == 1)
        return [self.of(caller.mailbox)[message.id] for message in batch]

    def _next_death(self, mailbox: str) -> int:
        return 1 + max((letter.death for letter in self.dead(mailbox).values()), default=0)

    def _fail(self, holder: Consumer, event: Event, message: ModelMessage, death: int, delay: float = 0.0) -> None:
        """A delivery failed; it is queued again, or dead if that reached its holder's ``max_deliveries``."""
        if holder.max_deliveries is not None and message.failures + 1 >= holder.max_deliveries:
            self._move(event, holder.mailbox, message, State.DEAD, holder, death=death)
        else:
            self._move(event, holder.mailbox, message, State.DELAYED if delay else State.QUEUED, holder, delay=delay)

    def _depth(self, mailbox: str) -> int:
        return self.counts(mailbox)[COUNTED[State.QUEUED]]

    def _agree_on_records(self, name: str, answer: list[MessageRecord], wanted: list[ModelMessage]) -> None:
        """Compares what was shown with the messages that should be in the mailbox."""
        # all of them first, briefly: a missing or misplaced message says more than a difference within one
        _agree(
            [_label(record.payload) for record in answer], [_label(message.payload) for message in wanted], "payloads"
        )
        for record, message in zip(answer, wanted, strict=True):
            status = MessageStatus.QUEUED if message.holder is None else MessageStatus.INFLIGHT
            created_at = self._agree_on_record(record, message, status)
            if message.delay == 0 or message.delay >= SOON:
                _agree(record.due_at is not None, message.delay >= SOON, "whether a message has a due time")
            self.of(name)[message.id] = message._replace(created_at=created_at)

    def _agree_on_record(self, record: MessageRecord, message: ModelMessage, status: MessageStatus) -> datetime:
        """Compares a record with the model's; returns its ``created_at``, which is known from now on."""
        created_at = message.created_at or record.created_at
        shown = (
            ("id", record.id, message.id),
            ("sender", record.sender, message.sender),
            ("payload", record.payload, message.payload),
            ("priority", record.priority, message.priority),
            ("created_at", record.created_at, created_at),
            ("status", record.status, status),
            ("delivery_count", record.delivery_count, message.delivery_count),
            ("headers", dict(record.headers), dict(message.headers)),
        )
        for what, actual, wanted in shown:
            if actual != wanted:
                _agree(actual, wanted, f"{what} of {message.id}")
        return created_at


class Seen(NamedTuple):
    """A call that was made, and its result."""

    caller: Consumer
    verb: str
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    answer: Any

    def replay(self, model: Model) -> Depth:
        method: Callable[..., Depth] = getattr(model, self.verb)
        return method(self.caller, self.answer, *self.arguments, **self.keywords)


class Judge:
    """Keeps every model that explains everything seen so far."""

    def __init__(self) -> None:
        self._models = [Model()]

    @property
    def model(self) -> Model:
        """One of the models that explain everything; all agree unless the last calls ran at once."""
        return self._models[0]

    def see(self, *calls: Seen) -> Depth:
        """Judges calls that ran at once. Returns what the last one had to report to its observer.

        Raises:
            DisagreementError: no order of them explains the answers.
        """
        explained: list[Model] = []
        doubts: list[DisagreementError] = []
        depth: Depth = None
        for model in self._models:
            for after, depth_after in _explained_by(model, calls, doubts):
                explained.append(after)
                depth = depth_after
        if not explained:
            raise doubts[0]
        if len(explained) > 1:
            explained = list({model.fingerprint(): model for model in explained}.values())
        self._models = explained
        return depth


def _explained_by(
    before: Model, calls: Sequence[Seen], doubts: list[DisagreementError]
) -> Iterator[tuple[Model, Depth]]:
    """The models after each order of the calls that explains them, and what the last one had to tell its observer.

    Orders that begin alike are judged once for as long as they do, up to the first call that contradicts; ``doubts``
    gets what it says. Enqueues of one handle keep their order, and its close comes after the calls that it made before.
    """
    for index, call in enumerate(calls):
        if any(_keeps_order(earlier, call) for earlier in calls[:index]):
            continue
        after = before.copy()
        try:
            depth = call.replay(after)
        except DisagreementError as doubt:
            doubts.append(doubt)
            continue
        if len(calls) == 1:
            yield after, depth
        else:
            yield from _explained_by(after, [*calls[:index], *calls[index + 1 :]], doubts)


def _keeps_order(earlier: Seen, later: Seen) -> bool:
    if earlier.caller != later.caller:
        return False
    return later.verb == "close" or {earlier.verb, later.verb} <= {"enqueue", "enqueue_many"}


def _by_priority(messages: Iterable[ModelMessage]) -> list[ModelMessage]:
    """The most urgent first; ``sorted`` keeps the order within a priority."""
    return sorted(messages, key=lambda message: -message.priority)


def _label(payload: bytes) -> bytes:
    """How random programs begin a payload."""
    return payload[:30].rstrip(b"\0")


_KINDS = {
    State.ABSENT: "nothing",
    State.QUEUED: "a message",
    State.DELAYED: "a message",
    State.INFLIGHT: "a message",
    State.DEAD: "a dead letter",
}


def _kind_of(answer: MessageRecord | DeadLetter | None) -> str:
    if answer is None:
        return "nothing"
    return "a dead letter" if isinstance(answer, DeadLetter) else "a message"


def _agree(actual: object, wanted: object, what: str) -> None:
    if actual != wanted:
        raise DisagreementError(f"{what}: the model says {_brief(wanted)}, the mailbox {_brief(actual)}")


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 600 else f"{text[:400]} ... {text[-200:]}"
