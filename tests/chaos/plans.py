"""What a round does: drawn from a seed, so that the seed of a failed round replays it."""

from __future__ import annotations

import enum
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

PHASES = ("enqueues", "claims", "acks", "sends")
"""What the victim is doing when it is killed; `sends` are `ack_and_send`."""


@dataclass(frozen=True)
class Kind:
    """A way in which somebody ends, or seems to."""

    name: str
    place: str = "page"
    """Where the victim's Python runs: "page", "worker" or "process"."""
    told: bool = False
    """Whether its page notices, and can give back what is held."""
    spins: bool = False
    """Whether it is in a loop that lets no event through."""
    lives: bool = False
    """Whether the victim may continue afterwards."""
    takes_all: bool = False
    """Whether it ends the others too, so that they have to be restarted."""
    strikes: bool = False
    """Whether not the victim ends, but what it works on is away for a while: the victim is told to end later."""
    lease: float | None = None
    """The victim's, in seconds, if only that shows that it is gone."""


IN_CHROMIUM = (
    Kind("browser killed", takes_all=True),
    Kind("tab closed", told=True),
    Kind("tab closed, in a loop", told=True, spins=True),
    Kind("tab reloaded", told=True),
    Kind("page crashed"),
    Kind("worker ended", place="worker"),
    Kind("worker ended, in a loop", place="worker", spins=True),
    Kind("tab with worker closed", place="worker", told=True),
    Kind("back/forward cache", told=True, lives=True),
    Kind("frozen", told=True, lives=True),
)
PROCESSES = (Kind("process killed", place="process"), Kind("process killed, in a loop", place="process", spins=True))

LEASE = 2.0
SERVER_KILLED = Kind("server killed", place="process", strikes=True)
LEADER_KILLED = Kind("leader of three killed", place="process", strikes=True)
CUT_OFF = Kind("client cut off", place="process", strikes=True)
STALLED = Kind("connection stalled", place="process", strikes=True)
ON_SERVERS = (*(replace(kind, lease=LEASE) for kind in PROCESSES), SERVER_KILLED, LEADER_KILLED, CUT_OFF, STALLED)


class Return(enum.StrEnum):
    """When a living victim continues."""

    NEVER = "never"
    UNSEEN = "before anybody has looked for what it held"
    LATER = "after its messages have been taken back"


@dataclass(frozen=True)
class Plan:
    """One round."""

    number: int
    seed: int
    kind: Kind
    phase: str
    durability: str
    reports: int
    """After how many of its reports the victim is killed, or begins to spin."""
    jitter: float
    """Seconds from then, once a call is under way, to the kill."""
    early: bool
    """Whether the rescuer is there and waiting when the victim dies."""
    returns: Return
    """When a living victim continues."""

    def for_actors(self, locations: tuple[str, str]) -> dict[str, Any]:
        """What actors need to know; `locations` are those of the mailbox and of the target of sends."""
        box, target = locations
        return {
            "box": box,
            "target": target,
            "seed": self.seed,
            "phase": self.phase,
            "options": {"durability": self.durability} | ({"lease": self.kind.lease} if self.kind.lease else {}),
            "spin_after": self.reports if self.kind.spins else None,
        }

    def __str__(self) -> str:
        return f"{self.kind.name} amid {self.phase}"


def draw(seed: int, number: int, kinds: Sequence[Kind]) -> Plan:
    """The plan of round `number` of a campaign: kinds and phases take turns, the rest is random."""
    rng = random.Random(f"{seed}/{number}")
    kind = kinds[number % len(kinds)]
    returns = rng.choice((Return.UNSEEN, Return.LATER)) if kind.lives else Return.NEVER
    return Plan(
        number=number,
        seed=rng.randrange(2**32),
        kind=kind,
        phase=PHASES[(number // len(kinds) + number % len(kinds)) % len(PHASES)],
        durability=rng.choice(("strict", "relaxed")),
        reports=rng.randint(5, 100),
        jitter=rng.uniform(0.02, 0.05) if kind.spins else rng.uniform(0, 0.004),
        early=rng.random() < 0.5 and returns is not Return.UNSEEN and not kind.takes_all,
        returns=returns,
    )
