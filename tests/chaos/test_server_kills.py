"""Kills around a JetStream server and a cluster; `make chaos BACKEND=jetstream` plays any number of rounds."""

import pytest

from tests.chaos.on_servers import ServerStage
from tests.chaos.plans import ON_SERVERS, PHASES, draw
from tests.chaos.rounds import play

SEED = 1
ROUNDS = [draw(SEED, number, ON_SERVERS) for number in range(12)]


@pytest.mark.slow
def test_kills() -> None:
    assert {plan.kind for plan in ROUNDS} == set(ON_SERVERS)
    assert {plan.phase for plan in ROUNDS} == set(PHASES)
    with ServerStage() as stage:
        outcomes = [play(stage, plan) for plan in ROUNDS]
    assert {str(outcome.plan): outcome.faults for outcome in outcomes if outcome.faults} == {}
    assert any(outcome.under_way for outcome in outcomes)
