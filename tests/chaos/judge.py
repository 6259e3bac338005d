"""Reads what was seen of a round, in order, and says what in it the contract forbids.

It is pure: events in, faults out, and knows nothing of browsers, processes or mailboxes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple


class Entry(NamedTuple):
    """A message as a call handed it out. Its key is "PRODUCER-NUMBER", and each producer counts up."""

    key: str
    priority: int
    deliveries: int


class Spot(NamedTuple):
    """A message in a mailbox."""

    box: str
    key: str


@dataclass(frozen=True)
class Event:
    """What an actor reported, or what was done to it."""

    who: str
    what: str
    """
    - `calling`: a call is about to be made.
    - `sent`: an enqueue of `keys` into `box` returned.
    - `claimed`: a dequeue on `box` that was called at `asked` returned `entries`.
    - `removing`: `keys` of `box` are about to be acknowledged, and sent on to `to` if that is there.
    - `removed`: that returned; `done` says for each of `keys` what it returned.
    - `failed`: a call raised `text`; `keys` may have been sent or removed, or not.
    - `closing`: its handle on `box` is about to be closed. - `struck`: what it works on is about to be away for a
      while.
    - `killed`: it is about to be killed, or to be left or frozen; `told` if its page hears of that.
    - `revived`: it is about to go on.
    - `audited`: when all was still, `peek` showed `entries`, `inflight` of them held by somebody, and then dequeues
      gave out `drained`.
    """
    at: float = 0.0
    """Seconds, by the recorder's clock."""
    box: str = ""
    to: str | None = None
    keys: Sequence[str] = ()
    done: Sequence[bool] = ()
    entries: Sequence[Entry] = ()
    drained: Sequence[Entry] = ()
    inflight: int = 0
    asked: float = math.inf
    """Seconds, by the wall clock."""
    wall: float = 0.0
    """When it was reported, by the wall clock."""
    told: bool = False
    text: str = ""


@dataclass(frozen=True)
class Fault:
    """Something forbidden that happened."""

    kind: str
    text: str


LOST = "lost"
DOUBLED = "doubled"
CAME_BACK = "came back"
OUT_OF_ORDER = "out of order"
STUCK = "stuck"
ACKED_TWICE = "acked twice"
REFUSED = "refused"
NOT_ALONE = "not alone"
STRANGE = "strange"
FAILED = "failed"


LONGEST_OUTAGE = 20.0
"""Seconds that a call may wait for what was struck; electing another leader takes 6 to 10."""


def judge(history: Sequence[Event]) -> list[Fault]:
    """All faults of a round that ended with an audit of each of its mailboxes."""
    trial = _Trial()
    for event in history:
        trial.see(event)
    trial.conclude()
    waited = outage(history)
    if waited is not None and waited > LONGEST_OUTAGE:
        trial.faults.append(Fault(STUCK, f"nothing went on for {waited:.1f} s"))
    return trial.faults


def overtaken(history: Iterable[Event]) -> list[Fault]:
    """What came to a consumer before something of its priority that the same producer had sent earlier, where only one
    consumer at a time reports of a mailbox. What is handed out again says nothing.
    """
    faults: list[Fault] = []
    seen: set[Spot] = set()
    last: dict[tuple[str, int, str], int] = {}
    for event in history:
        for key, priority, _ in event.entries if event.what == "claimed" else ():
            spot = Spot(event.box, key)
            if spot in seen:
                continue
            seen.add(spot)
            producer, _, number = key.rpartition("-")
            way = (event.box, priority, producer)
            if int(number) < last.get(way, -1):
                faults.append(Fault(OUT_OF_ORDER, f"{spot} came after {producer}-{last[way]}"))
            last[way] = int(number)
    return faults


class _Trial:
    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self._sent: set[Spot] = set()
        self._holders: dict[Spot, str] = {}
        self._removed: set[Spot] = set()
        self._tried: dict[Spot, str | None] = {}
        """Messages whose acknowledgement was begun, and where they should be sent on to."""
        self._steps: dict[Spot, list[int]] = {}
        """What may have been sent on to where, and the positions of these calls among all."""
        self._calls = 0
        self._gone: set[str] = set()
        self._revived: dict[str, float] = {}
        self._suspects: set[Spot] = set()
        self._left: dict[str, Counter[str]] = {}

    def see(self, event: Event) -> None:
        if event.what in ("calling", "struck"):
            return
        handlers = {
            "sent": self._see_sent,
            "claimed": self._see_claimed,
            "removing": self._see_removing,
            "removed": self._see_removed,
            "failed": self._see_failed,
            "closing": self._see_closing,
            "killed": self._see_killed,
            "revived": self._see_revived,
            "audited": self._see_audited,
        }
        handlers[event.what](event)

    def conclude(self) -> None:
        """What only the end shows."""
        targets = {spot.box for spot in self._steps}
        boxes = {spot.box for spot in self._sent | self._tried.keys()} | targets
        for box in sorted(boxes - self._left.keys()):
            self._fault(STUCK, f"{box} was never audited")
        for spot in sorted(self._sent | self._tried.keys()):
            if spot.box not in self._left:
                continue
            here = self._left[spot.box][spot.key]
            if spot in self._removed and here:
                self._fault(CAME_BACK, f"{spot} was acknowledged and is there")
            if spot not in self._tried and not here:
                self._fault(LOST, f"{spot} was sent, nobody acknowledged it, and it is not there")
            to = self._tried.get(spot)
            if to is not None and to in self._left:
                self._conclude_step(spot, Spot(to, spot.key), here)
        for box, left in self._left.items():
            for key, count in left.items():
                spot = Spot(box, key)
                if count > 1:
                    self._fault(DOUBLED, f"{spot} is there {count} times")
                if box in targets and spot not in self._steps:
                    self._fault(STRANGE, f"{spot} is there, and nobody sent it on")

    def _conclude_step(self, source: Spot, target: Spot, here: int) -> None:
        there = self._left[target.box][target.key] + (target in self._removed)
        if here + there == 0:
            self._fault(LOST, f"{source} was being sent on to {target.box} and is in neither")
        elif here and there:
            self._fault(DOUBLED, f"{source} was being sent on to {target.box} and is in both")
        elif source in self._removed and not there:
            self._fault(LOST, f"{source} was sent on to {target.box} and is not there")

    # -- events -----------------------------------------------------------------------------------------------------

    def _see_sent(self, event: Event) -> None:
        self._sent |= _spots(event)

    def _see_claimed(self, event: Event) -> None:
        self._check_order(event.box, event.entries, f"a batch of {event.who}")
        given: set[Spot] = set()
        for entry in event.entries:
            spot = Spot(event.box, entry.key)
            holder = event.who if spot in given else self._holders.get(spot)
            given.add(spot)
            if spot in self._removed:
                self._fault(CAME_BACK, f"{spot} was acknowledged and handed out to {event.who}")
            if holder is not None:
                self._fault(DOUBLED, f"{spot} was handed out to {event.who} while {holder} held it")
            if spot in self._suspects:
                self._suspects.discard(spot)
                if len(event.entries) > 1:
                    self._fault(NOT_ALONE, f"{spot} killed its holder and was handed out among {len(event.entries)}")
            if self._lives(event):
                self._holders[spot] = event.who

    def _see_removing(self, event: Event) -> None:
        for spot in _spots(event):
            self._tried[spot] = event.to or self._tried.get(spot)
            if event.to:
                self._calls += 1
                self._steps.setdefault(Spot(event.to, spot.key), []).append(self._calls)

    def _see_removed(self, event: Event) -> None:
        for key, done in zip(event.keys, event.done, strict=True):
            spot = Spot(event.box, key)
            holder = self._holders.get(spot)
            if not done:
                if holder == event.who and event.who not in self._gone:
                    self._fault(REFUSED, f"{spot} is held by {event.who}, whose acknowledgement found nothing")
                continue
            if spot in self._removed:
                self._fault(ACKED_TWICE, f"{spot} was acknowledged again, by {event.who}")
            if event.who in self._gone and holder is not None:
                self._fault(CAME_BACK, f"{spot} was acknowledged by {event.who} before it died, and {holder} has it")
            self._removed.add(spot)
            self._holders.pop(spot, None)

    def _see_failed(self, event: Event) -> None:
        if event.who not in self._revived or "ConnectionLostError" not in event.text:
            self._fault(FAILED, f"a call of {event.who}: {event.text}")

    def _see_closing(self, event: Event) -> None:
        for spot in self._held_by(event.who):
            if spot.box == event.box:
                del self._holders[spot]

    def _see_killed(self, event: Event) -> None:
        held = self._held_by(event.who)
        for spot in held:
            del self._holders[spot]
        if not event.told:
            self._suspects |= held
        self._gone.add(event.who)

    def _see_revived(self, event: Event) -> None:
        self._gone.discard(event.who)
        self._revived[event.who] = event.wall

    def _see_audited(self, event: Event) -> None:
        self._left[event.box] = Counter(entry.key for entry in event.entries)
        if event.inflight:
            self._fault(STUCK, f"{event.inflight} messages of {event.box} are still held by somebody who is gone")
            return
        self._check_order(event.box, event.entries, "what is left")
        shown, given = ([entry.key for entry in entries] for entries in (event.entries, event.drained))
        if shown != given:
            lost, come = Counter(shown) - Counter(given), Counter(given) - Counter(shown)
            kind = LOST if lost else DOUBLED if come else OUT_OF_ORDER
            self._fault(kind, f"{event.box} showed {len(shown)} and gave out {len(given)}: -{dict(lost)} +{dict(come)}")

    # -- help -------------------------------------------------------------------------------------------------------

    def _check_order(self, box: str, entries: Sequence[Entry], where: str) -> None:
        """High before normal, and what one handle has sent in the order of its calls."""
        where = f"{where} of {box}"
        for one, after in pairwise(entries):
            if one.priority < after.priority:
                self._fault(OUT_OF_ORDER, f"in {where} {after.key} is high and comes after {one.key}")
        last: dict[tuple[int, str], tuple[int, str]] = {}
        for key, priority, _ in entries:
            place = self._place(Spot(box, key))
            if place is None:
                continue
            producer, number = place
            before, before_key = last.get((priority, producer), (-1, ""))
            if number < before:
                self._fault(OUT_OF_ORDER, f"in {where} {key} comes after {before_key}")
            last[priority, producer] = number, key

    def _place(self, spot: Spot) -> tuple[str, int] | None:
        """Who sent a message, and which of its calls that was; None if it cannot be told."""
        if spot in self._steps:
            calls = self._steps[spot]
            return ("", calls[0]) if len(calls) == 1 else None
        producer, dash, number = spot.key.rpartition("-")
        if dash and number.isdecimal():
            return producer, int(number)
        self._fault(STRANGE, f"in {spot.box} is {spot.key!r}, which nobody sent")
        return None

    def _lives(self, event: Event) -> bool:
        """Whether what an event says was handed out is held now; otherwise it was held before the end that was seen."""
        return event.who not in self._gone and event.asked >= self._revived.get(event.who, -math.inf)

    def _held_by(self, who: str) -> set[Spot]:
        return {spot for spot, holder in self._holders.items() if holder == who}

    def _fault(self, kind: str, text: str) -> None:
        self.faults.append(Fault(kind, text))


def _spots(event: Event) -> set[Spot]:
    return {Spot(event.box, key) for key in event.keys}


def redelivery(history: Iterable[Event]) -> float | None:
    """Seconds from the first kill until something that the killed actor held was handed out again, or None."""
    held: set[Spot] = set()
    killed: Event | None = None
    for event in history:
        spots = {Spot(event.box, entry.key) for entry in event.entries}
        if event.what == "killed" and killed is None:
            killed = event
            held = held_by(event.who, history)
        elif event.what == "claimed" and killed is not None and event.who != killed.who and spots & held:
            return event.at - killed.at
    return None


def outage(history: Iterable[Event]) -> float | None:
    """The longest time, in seconds, in which nothing came back from what was struck; None if nothing was struck."""
    last: float | None = None
    longest = 0.0
    for event in history:
        if event.what == "killed":
            break
        if event.what == "struck":
            last = event.at
        elif last is not None and event.what in ("sent", "claimed", "removed"):
            longest = max(longest, event.at - last)
            last = event.at
    return None if last is None else longest


def held_by(who: str, history: Iterable[Event]) -> set[Spot]:
    """What somebody had got before the first kill and has not begun to acknowledge."""
    held: set[Spot] = set()
    killed = False
    for event in history:
        if event.what == "revived":
            break
        killed = killed or event.what == "killed"
        if event.who == who and event.what == "claimed" and not killed:
            held |= {Spot(event.box, entry.key) for entry in event.entries}
        elif event.who == who and event.what == "removing":
            held -= _spots(event)
    return held


def under_way(who: str, history: Iterable[Event]) -> int:
    """How many calls of somebody had not been seen to return by the first kill or strike: a kill that hits none shows
    nothing.
    """
    calls = 0
    for event in history:
        if event.what in ("struck", "killed"):
            break
        if event.who == who:
            calls += (event.what == "calling") - (event.what in ("sent", "claimed", "removed", "failed"))
    return calls
