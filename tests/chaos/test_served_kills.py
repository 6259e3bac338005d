"""Kills of pages and workers that work on a NATS server: a few of the kinds that test_chromium_kills.py has.

`make chaos BACKEND=jetstream-pages` has all of them.
"""

from collections.abc import Iterator

import pytest

from tests.chaos.in_chromium import ServedChromiumStage
from tests.chaos.plans import IN_CHROMIUM, PHASES, Plan, draw
from tests.chaos.rounds import play

pytestmark = pytest.mark.browser

SEED = 1
KINDS = [
    kind for kind in IN_CHROMIUM if kind.name in ("tab reloaded", "page crashed", "worker ended", "back/forward cache")
]
ROUNDS = [draw(SEED, number, KINDS) for number in range(4)]


@pytest.fixture(scope="module")
def stage() -> Iterator[ServedChromiumStage]:
    """One browser for all rounds."""
    with ServedChromiumStage() as stage:
        yield stage


def test_rounds_are_of_every_kind_and_in_every_phase() -> None:
    assert {plan.kind for plan in ROUNDS} == set(KINDS)
    assert {plan.phase for plan in ROUNDS} == set(PHASES)


@pytest.mark.parametrize("plan", ROUNDS, ids=str)
def test_kill(plan: Plan, stage: ServedChromiumStage, redeliveries: dict[str, float | None]) -> None:
    outcome = play(stage, plan)
    redeliveries[f"chromium, on a NATS server: {plan}"] = outcome.redelivery
    assert outcome.faults == []
