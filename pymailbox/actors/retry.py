"""When a message whose handler failed, or asked for it, is tried again."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from random import random as between_0_and_1
from typing import Any

from ..contract.arguments import check_count, check_delay, check_seconds, shown
from ..contract.limits import LONGEST_DELAY


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long a message waits after a failed delivery, and when it is given up.

    The pause grows with ``delivery_count``: ``first_delay`` after the first delivery, ``factor`` times as long after
    each further one, never longer than ``longest_delay``. Part of it is random, so that messages that failed together
    do not all come back together.

    Raises:
        TypeError, ValueError: a value is invalid; the message names it.
    """

    first_delay: float = 1.0
    """Seconds."""
    factor: float = 2.0
    """1 or more."""
    longest_delay: float = 300.0
    """Seconds."""
    jitter: float = 0.5
    """How much of the pause is random: 0.0 for none of it, 1.0 for all of it. It only ever shortens the pause."""
    max_deliveries: int | None = None
    """After this many deliveries, by ``delivery_count``, a message that fails becomes a dead letter; None leaves it to
    the ``max_deliveries`` with which the mailbox was opened."""
    random: Callable[[], float] = between_0_and_1
    """A source of numbers from 0.0 to 1.0; another one makes the pauses repeatable."""

    def __post_init__(self) -> None:
        for name in ("first_delay", "longest_delay"):
            check_seconds(name, getattr(self, name), LONGEST_DELAY)
        _check_between("factor", self.factor, 1.0, math.inf)
        _check_between("jitter", self.jitter, 0.0, 1.0)
        if self.max_deliveries is not None:
            check_count("max_deliveries", self.max_deliveries)
        if not callable(self.random):
            raise TypeError(f"random must be a function that returns a number, not {type(self.random).__name__}")

    def delay_after(self, delivery_count: int) -> float:
        """Seconds until a message that failed at its ``delivery_count``-th delivery is handed out again."""
        try:
            grown = self.first_delay * self.factor ** max(0, delivery_count - 1)
        except OverflowError:
            grown = math.inf if self.first_delay else 0.0
        longest = min(grown, self.longest_delay)
        return longest - longest * self.jitter * self.random()


class Retry(Exception):  # noqa: N818  raised by handlers, as a verb
    """Raised by a handler: its message comes again, ``delay`` (seconds or a ``timedelta``) from now.

    Without a ``delay`` it comes when the retry policy says. That is a failed delivery, unless ``failed`` is False
    ("not now", as for a server that says "come again in 30 s"): then the hand-out is taken back, ``delivery_count``
    stays as it is, and the message never becomes a dead letter for it.

    Raises:
        TypeError, ValueError: an argument is invalid; the message names it.
    """

    delay: float | None
    """Seconds; None for what the policy says."""
    failed: bool
    """Whether it is a failed delivery."""

    def __init__(self, delay: float | timedelta | None = None, *, failed: bool = True) -> None:
        super().__init__(delay)  # by which it is pickled, as when it comes out of a pool of processes
        self.delay = None if delay is None else check_delay(delay) / 1000
        if not isinstance(failed, bool):
            raise TypeError(f"failed must be True or False, not {failed!r}")
        self.failed = failed

    def __str__(self) -> str:
        when = "when its policy says" if self.delay is None else f"in {self.delay:g} s"
        return f"again {when}" + ("" if self.failed else "; this delivery does not count")


def _check_between(name: str, value: Any, least: float, most: float) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    if not least <= value <= most or value == math.inf:
        limits = f"{least:g} or more" if most == math.inf else f"between {least:g} and {most:g}"
        raise ValueError(f"{name} must be {limits}, and finite, not {shown(value)}")
