"""Real kills in Chromium, at least one of each kind; `make chaos` plays any number."""

import pytest

from tests.chaos.in_chromium import ChromiumStage
from tests.chaos.plans import IN_CHROMIUM, PHASES, Plan, draw
from tests.chaos.rounds import play

pytestmark = pytest.mark.browser

SEED = 1
ROUNDS = [draw(SEED, number, IN_CHROMIUM) for number in range(12)]


def test_rounds_are_of_every_kind_and_in_every_phase() -> None:
    assert {plan.kind for plan in ROUNDS} == set(IN_CHROMIUM)
    assert {plan.phase for plan in ROUNDS} == set(PHASES)


@pytest.mark.parametrize("plan", ROUNDS, ids=str)
def test_kill(plan: Plan, stage: ChromiumStage, redeliveries: dict[str, float | None]) -> None:
    outcome = play(stage, plan)
    redeliveries[f"chromium: {plan}"] = outcome.redelivery
    assert outcome.faults == []
