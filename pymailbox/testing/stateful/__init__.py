"""Stateful tests: seeded random programs that run on a real mailbox and are judged step by step by the model.

A program opens several handles on two mailboxes of one database and makes random calls, some of them at once. The same
seed gives the same program. A new verb needs a row in ``verbs.KINDS`` and a method of that name in ``Model``; a new
kind of event, such as the death of a holder, needs a row in ``steps.STEPS``.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Final

from .._sandbox import MailboxFactory, Sandbox
from ..model import DisagreementError
from .program import Program
from .steps import take_a_step

LONGEST_STEP: Final = 120.0
"""Seconds after which a step counts as hanging."""


class ProgramFailure(AssertionError):  # noqa: N818  the failure is not the program's error
    """In a random program, a mailbox did what the model does not allow. The text has everything needed to repeat it."""

    def __init__(self, seed: int, step: int, reason: str, lines: Sequence[str]) -> None:
        self.seed = seed
        self.step = step
        self.lines = list(lines)
        """The program up to its failure, readable."""
        program = "\n".join(f"  {line}" for line in self.lines)
        super().__init__(f"seed {seed}, step {step}: {reason}\n{program}")


async def run_program(factory: MailboxFactory, seed: int, *, steps: int = 60) -> None:
    """Runs the random program of a seed against fresh mailboxes, and in the end takes everything out of them.

    Raises:
        ProgramFailure: the mailbox did what the model does not allow, raised or hung; it names seed and step.
    """
    sandbox = Sandbox(factory)
    program = Program(sandbox, random.Random(seed))
    try:
        for step in range(steps + 1):
            program.begin(step)
            try:
                async with asyncio.timeout(LONGEST_STEP):
                    await (program.finish() if step == steps else take_a_step(program))
            except Exception as error:
                reason = str(error) if isinstance(error, DisagreementError) else f"{type(error).__name__}: {error}"
                raise ProgramFailure(seed, step, reason, program.lines) from error
    finally:
        await sandbox.close_all()
