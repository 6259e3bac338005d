"""The table of a message's life: consistent, on its page, and enforced on programs."""

from __future__ import annotations

from collections import Counter

import pytest

from pymailbox.testing import ProgramFailure, factory_at, lifecycle, model, run_program
from pymailbox.testing.lifecycle import (
    BEYOND_PROGRAMS,
    COUNTED,
    MADE_BY,
    MEANING,
    TRANSITIONS,
    Event,
    ImpossibleTransitionError,
    State,
    Transition,
    transition,
)
from tools import lifecycle_page, traces
from tools.generated import generated_part


def test_the_table_is_complete_and_says_everything_once() -> None:
    assert set(MEANING) == set(COUNTED) == set(State)
    assert set(MADE_BY) == set(Event) == {row.event for row in TRANSITIONS}
    assert max(Counter(row[:3] for row in TRANSITIONS).values()) == 1
    # who may is decided before it is known where an event leads
    assert {(row.event, row.before): row.who for row in TRANSITIONS}.items() == {
        ((row.event, row.before), row.who) for row in TRANSITIONS
    }


def test_every_state_is_reached_and_left() -> None:
    assert {row.before for row in TRANSITIONS} == {row.after for row in TRANSITIONS} == set(State)


def test_the_page_says_what_the_table_says() -> None:
    assert generated_part(lifecycle_page.PAGE, lifecycle_page.TOOL) == lifecycle_page.text(), "run: make generated"


def test_what_the_table_lacks_is_impossible() -> None:
    with pytest.raises(ImpossibleTransitionError, match="ack never makes a message that is dead absent"):
        transition(Event.ACK, State.DEAD, State.ABSENT)


async def test_a_program_fails_at_a_transition_that_the_table_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses_hand_outs(event: Event, before: State, after: State) -> Transition:
        if event is Event.DEQUEUE:
            raise ImpossibleTransitionError("not in the table")
        return transition(event, before, after)

    monkeypatch.setattr(model, "transition", refuses_hand_outs)
    with pytest.raises(ProgramFailure, match="not in the table"):
        await run_program(factory_at("memory://"), 1)


async def test_a_program_fails_at_a_count_that_the_table_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    row = transition(Event.DEQUEUE, State.QUEUED, State.INFLIGHT)
    wrong = row._replace(deliveries=lifecycle.Count.KEPT)
    monkeypatch.setattr(model, "transition", lambda *key: wrong if key == row[:3] else transition(*key))
    with pytest.raises(ProgramFailure, match="delivery_count"):
        await run_program(factory_at("memory://"), 1)


def test_the_traces_take_every_transition_that_the_model_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: set[Transition] = set()

    def noting(event: Event, before: State, after: State) -> Transition:
        row = transition(event, before, after)
        taken.add(row)
        return row

    monkeypatch.setattr(model, "transition", noting)
    for _ in traces.traces():
        pass
    assert taken == {row for row in TRANSITIONS if row.event not in BEYOND_PROGRAMS}
