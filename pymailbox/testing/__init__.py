"""The contract of a mailbox as a test suite, for those who write a backend or want to be sure of one.

    from pymailbox.testing import check_mailbox

    async def open_mine(name: str, **options):
        return await MyMailbox.open(name, **options)

    asyncio.run(check_mailbox(open_mine))

It is plain ``async`` functions on the standard library, so it runs with or without pytest, and inside a web page.

To test your own actors there is ``FaultyMailbox``, which fails on demand.
"""

from __future__ import annotations

from collections.abc import Collection
from importlib.util import find_spec

from ..contract.errors import NOT_IN_PAGES

if find_spec(f"{__name__}._suite") is None:
    raise ImportError(f"{__name__} is not available here: {NOT_IN_PAGES}", name=__name__)

from ._sandbox import MailboxFactory, Sandbox, factory_at
from ._suite import Check, CheckResult, run_each
from .checks import CHECKS
from .faults import Fault, FaultKind, FaultyMailbox, HolderDied
from .stateful import ProgramFailure, run_program

__all__ = [
    "CHECKS",
    "Check",
    "CheckResult",
    "Fault",
    "FaultKind",
    "FaultyMailbox",
    "HolderDied",
    "MailboxFactory",
    "ProgramFailure",
    "Sandbox",
    "check_mailbox",
    "factory_at",
    "run_checks",
    "run_program",
]


async def run_checks(factory: MailboxFactory, *, only: Collection[str] | None = None) -> list[CheckResult]:
    """Runs every check, or those whose names are in ``only``, and returns how each ended.

    A check of something that the mailbox does not claim in its ``capabilities`` ends as ``"unsupported"``.
    """
    return [result async for result, _ in run_each(CHECKS, factory, only)]


async def check_mailbox(factory: MailboxFactory) -> None:
    """Runs every check; if any fail, raises them as an ``ExceptionGroup``, each with the promise that was broken."""
    outcomes = [outcome async for outcome in run_each(CHECKS, factory)]
    failures = [failure for _, failure in outcomes if failure is not None]
    if failures:
        raise ExceptionGroup(f"{len(failures)} of {len(outcomes)} checks failed", failures)
