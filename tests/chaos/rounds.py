"""One round: somebody works, is killed in the middle, and others look at what is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol

from tests.chaos.judge import STUCK, Event, Fault, judge, outage, redelivery, under_way
from tests.chaos.plans import Kind, Plan, Return
from tests.chaos.recorder import AUDITOR, RESCUER, VICTIM, Recorder

WORK_SECONDS = 240.0
"""Chromium ends the transaction of a frozen page only after 60 s, and until then all others wait."""

REPORTS_AFTER_RETURN = 10

ANSWERS_AFTER_STRIKE = 20


STANDSTILLS = 4
"""How often a round may begin again."""


stood_still: list[str] = []
"""Where a browser stood still, of everything that was played."""


class StandstillError(Exception):
    """What our code runs in does not react although none of our code is running: the browser's own fault."""


class Stage(AbstractContextManager["Stage"], Protocol):
    """Where rounds are played: it has the actors and the means to kill them."""

    kinds: Sequence[Kind]

    def renew(self) -> None:
        """Begin again with a browser that does not stand still."""

    def round(self, plan: Plan) -> AbstractContextManager[Scene]:
        """Everything that one round needs, until it is over."""


class Scene(Protocol):
    """The actors of one round."""

    recorder: Recorder

    def start(self, role: str) -> None:
        """Begin the work of an actor."""

    def kill(self) -> None:
        """End the victim, or make it seem so, or strike what it works on, as the plan says."""

    def bring_back(self) -> bool:
        """Let a living victim continue, or restore what was struck; False if the victim is gone after all."""

    def end_victim(self) -> None:
        """End a living victim for good, so that it gives back what it holds."""

    def check(self) -> None:
        """Check that the actors can run. Raises `StandstillError` if not."""

    def state_of_victim(self) -> str:
        """Where a victim is that does not continue."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of a round."""

    plan: Plan
    history: list[Event]
    faults: list[Fault]
    redelivery: float | None
    """Seconds from the kill until something that the victim held came to somebody else."""
    under_way: int
    """Calls that had not been seen to return when the victim was killed."""
    note: str

    def __str__(self) -> str:
        counts = {
            what: sum(len(event.keys) for event in self.history if event.what == what) for what in ("sent", "removed")
        }
        again = "nothing held" if self.redelivery is None else f"again after {self.redelivery * 1000:.0f} ms"
        verdict = "; ".join(f"{fault.kind.upper()}: {fault.text}" for fault in self.faults) or "fine"
        seen = f"{counts['sent']:4} sent {counts['removed']:4} acked {self.under_way:2} calls under way"
        return f"{self.plan.number:4} {self.plan!s:40}{seen}, {again:20} {self.note:23} {verdict}"


def play(stage: Stage, plan: Plan) -> Outcome:
    """Play a round and judge it. An actor that does not get as far as it should is also a fault.

    A round whose browser stood still is played again, and its outcome says so.
    """
    for standstills in range(STANDSTILLS):
        try:
            outcome = _play(stage, plan)
        except StandstillError as standstill:
            stood_still.append(f"{plan}, {standstill}")
            stage.renew()
        else:
            return replace(outcome, note=f"{outcome.note} {standstills} standstills") if standstills else outcome
    raise StandstillError(f"{plan}: {STANDSTILLS} times")


def _play(stage: Stage, plan: Plan) -> Outcome:
    with stage.round(plan) as scene:
        try:
            note, faults = _act(scene, plan), []
        except TimeoutError as error:
            note, faults = "", [Fault(STUCK, f"{error}\n{scene.state_of_victim()}")]
        history = list(scene.recorder.history)
    faults = faults or judge(history)
    return Outcome(plan, history, faults, redelivery(history), under_way(VICTIM, history), note)


def _act(scene: Scene, plan: Plan) -> str:
    """Everything that happens in a round; returns what happened to a living victim."""
    note = ""
    recorder = scene.recorder

    def wait_for(who: str, mark: str) -> None:
        _wait(scene, lambda: recorder.has_said(who, mark), f"the {who} was not {mark}")

    scene.start(VICTIM)
    wait_for(VICTIM, "ready")
    if plan.early:
        scene.start(RESCUER)
        wait_for(RESCUER, "ready")
    if plan.kind.spins:
        wait_for(VICTIM, "spinning")
    else:
        _wait_for_reports(scene, plan.reports)
        _wait(scene, lambda: under_way(VICTIM, recorder.history) > 0, "the victim called nothing")
    time.sleep(plan.jitter)
    if plan.kind.strikes:
        note = _strike(scene)
    else:
        recorder.note(VICTIM, "killed", told=plan.kind.told)
        scene.kill()
    if plan.returns is Return.UNSEEN:
        note = _bring_back(scene)
    if not plan.early:
        scene.start(RESCUER)
    wait_for(RESCUER, "done")
    if plan.returns is Return.LATER:
        note = _bring_back(scene)
    scene.start(AUDITOR)
    wait_for(AUDITOR, "done")
    return note


def _wait(scene: Scene, reached: Callable[[], bool], what: str) -> None:
    scene.recorder.wait_for(reached, what, WORK_SECONDS, scene.check)


def _wait_for_reports(scene: Scene, count: int) -> None:
    before = scene.recorder.reports_of(VICTIM)
    enough = before + count
    _wait(scene, lambda: scene.recorder.reports_of(VICTIM) >= enough, f"the victim did not make {count} reports")


def _strike(scene: Scene) -> str:
    """Strike what the victim works on, let the victim continue for a while, and then end it; returns how long it
    waited."""
    recorder = scene.recorder
    recorder.note(VICTIM, "struck")
    enough = recorder.answers_to(VICTIM) + ANSWERS_AFTER_STRIKE
    scene.kill()
    _wait(scene, lambda: recorder.answers_to(VICTIM) >= enough, "the victim did not go on")
    scene.bring_back()
    recorder.note(VICTIM, "killed", told=True)
    scene.end_victim()
    return f"waited {outage(recorder.history) or 0.0:.1f} s"


def _bring_back(scene: Scene) -> str:
    """Let the victim continue for a while, and then end it; returns what happened to it."""
    scene.recorder.note(VICTIM, "revived")
    if not scene.bring_back():
        scene.recorder.note(VICTIM, "killed", told=True)
        scene.end_victim()
        return "did not come back"
    _wait_for_reports(scene, REPORTS_AFTER_RETURN)
    scene.recorder.note(VICTIM, "killed", told=True)
    scene.end_victim()
    return "came back and went on"
