"""Processes that share a SQLite file and are killed; `make chaos BACKEND=sqlite` plays any number of rounds."""

import pytest

from tests.chaos.in_processes import SqliteStage
from tests.chaos.plans import PHASES, PROCESSES, draw
from tests.chaos.rounds import play

SEED = 1
ROUNDS = [draw(SEED, number, PROCESSES) for number in range(32)]


@pytest.mark.slow
def test_kills() -> None:
    assert {(plan.kind, plan.phase) for plan in ROUNDS} == {(kind, phase) for kind in PROCESSES for phase in PHASES}
    with SqliteStage() as stage:
        outcomes = [play(stage, plan) for plan in ROUNDS]
    assert {str(outcome.plan): outcome.faults for outcome in outcomes if outcome.faults} == {}
    assert any(outcome.under_way for outcome in outcomes)
