"""When a failed message is tried again, and how its failure is written down."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pymailbox import RetryPolicy
from pymailbox.actors.tracebacks import LONGEST_TEXT, shortened, traceback_of


def delays(policy: RetryPolicy, count: int) -> list[float]:
    return [policy.delay_after(delivery) for delivery in range(1, count + 1)]


def test_pauses_grow_up_to_the_longest() -> None:
    assert delays(RetryPolicy(0.5, factor=3.0, longest_delay=10.0, jitter=0.0), 5) == [0.5, 1.5, 4.5, 10.0, 10.0]


def test_pauses_that_do_not_grow() -> None:
    assert delays(RetryPolicy(2.0, factor=1.0, jitter=0.0), 3) == [2.0, 2.0, 2.0]


def test_no_pause() -> None:
    assert delays(RetryPolicy(0.0), 3) == [0.0, 0.0, 0.0]
    assert RetryPolicy(0.0).delay_after(10**9) == 0.0


def test_endless_failures_overflow_nothing() -> None:
    assert RetryPolicy(jitter=0.0).delay_after(10**9) == 300.0


@pytest.mark.parametrize(("drawn", "wanted"), [(0.0, 8.0), (0.5, 6.0), (0.999, 4.004)])
def test_chance_only_shortens(drawn: float, wanted: float) -> None:
    policy = RetryPolicy(8.0, jitter=0.5, random=lambda: drawn)
    assert policy.delay_after(1) == pytest.approx(wanted)


def test_same_source_makes_the_same_pauses() -> None:
    from random import Random

    first, second = (delays(RetryPolicy(jitter=1.0, random=Random(3).random), 5) for _ in range(2))
    assert first == second
    assert len(set(first)) == 5
    assert len(set(delays(RetryPolicy(factor=1.0), 5))) == 5


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("first_delay", -1.0, ValueError),
        ("first_delay", "1", TypeError),
        ("longest_delay", math.inf, ValueError),
        ("longest_delay", math.nan, ValueError),
        ("factor", 0.5, ValueError),
        ("factor", math.inf, ValueError),
        ("factor", None, TypeError),
        ("jitter", 1.5, ValueError),
        ("jitter", True, TypeError),
        ("max_deliveries", 0, ValueError),
        ("max_deliveries", 1.0, TypeError),
        ("random", 0.5, TypeError),
    ],
)
def test_bad_value_is_named(name: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"{name} must be"):
        RetryPolicy(**{name: value})


def failure(raise_it: Any) -> Exception:
    try:
        raise_it()
    except Exception as error:
        return error
    raise AssertionError


def test_traceback_ends_with_what_went_wrong() -> None:
    def handler() -> None:
        raise KeyError("missing")

    text = traceback_of(failure(handler))
    assert text.startswith("Traceback (most recent call last):\n")
    assert "in handler\n" in text
    assert text.endswith("KeyError: 'missing'")


def test_long_traceback_keeps_its_ends() -> None:
    def handler() -> None:
        raise KeyError("x" * 100_000 + "the end")

    text = traceback_of(failure(handler))
    assert len(text) <= LONGEST_TEXT
    assert text.startswith("Traceback")
    assert "characters left out" in text
    assert text.endswith("the end'")


def test_endless_recursion_is_a_short_text() -> None:
    def handler() -> None:
        handler()

    assert len(traceback_of(failure(handler))) <= LONGEST_TEXT


def test_text_that_cannot_be_stored_is_escaped() -> None:
    assert shortened("broken \udcff name") == "broken \\udcff name"


def test_error_that_cannot_be_written_down_is_still_a_failure() -> None:
    class Silent(Exception):  # noqa: N818
        def __str__(self) -> str:
            raise RuntimeError

    def handler() -> None:
        raise Silent

    assert "Silent" in traceback_of(failure(handler))
