"""Processes that share a SQLite file and are killed; `make chaos BACKEND=sqlite` plays any number of rounds."""

import pytest

from tests.chaos.in_processes import SqliteStage
from tests.chaos.plans import PHASES, PROCESSES, draw
from tests.chaos.rounds import play

SEED = 1
ROUNDS, FEW_ROUNDS = 32, 8


def test_kills(pytestconfig: pytest.Config) -> None:
    rounds = FEW_ROUNDS if pytestconfig.getoption("--few-programs") else ROUNDS
    plans = [draw(SEED, number, PROCESSES) for number in range(rounds)]
    assert {(plan.kind, plan.phase) for plan in plans} == {(kind, phase) for kind in PROCESSES for phase in PHASES}
    with SqliteStage() as stage:
        outcomes = [play(stage, plan) for plan in plans]
    assert {str(outcome.plan): outcome.faults for outcome in outcomes if outcome.faults} == {}
    assert any(outcome.under_way for outcome in outcomes)
