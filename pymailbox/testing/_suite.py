"""What a check is, and how checks are run against a mailbox."""

from __future__ import annotations

import asyncio
import inspect
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from ..contract.capabilities import Capability
from ..contract.mailbox import Mailbox
from ._sandbox import MailboxFactory, Sandbox

Outcome: TypeAlias = Literal["passed", "failed", "unsupported"]
CheckFunction: TypeAlias = Callable[[Sandbox], Awaitable[None]]

LONGEST_CHECK = 180.0
"""Seconds after which a check counts as hanging."""

LONGEST_CLOSE = 30.0
"""Seconds that closing what a check left open may take."""

_LIMIT = "dequeue(limit)"
_ACK_WITH_CLAIM = "dequeue(ack) in one transaction"


@dataclass(frozen=True)
class Check:
    """One promise of the contract, and the function that finds out whether a mailbox keeps it."""

    name: str
    """``subject.promise``, unique."""
    requires: frozenset[Capability]
    """The check does not apply to a mailbox that does not claim these."""
    run: CheckFunction
    needs_limit: bool = False
    """The check calls ``dequeue(limit)`` or relies on ``batch_size``, which a plain ``dequeue()`` lacks."""
    acks_with_claims: bool = False
    """The check relies on a ``dequeue`` that acknowledges in the transaction of its claim."""

    @property
    def promise(self) -> str:
        """What is promised, in one sentence."""
        return inspect.getdoc(self.run) or ""

    @property
    def needs(self) -> list[str]:
        """What a mailbox has to claim for the check to apply."""
        needs = sorted(map(str, self.requires))
        if self.needs_limit:
            needs.append(_LIMIT)
        if self.acks_with_claims:
            needs.append(_ACK_WITH_CLAIM)
        return needs

    def lacking(self, mailbox: Mailbox) -> str:
        """What the check needs but the mailbox does not claim; empty if the check applies."""
        claimed = set(map(str, mailbox.capabilities))
        if takes_limit(mailbox):
            claimed.add(_LIMIT)
        if mailbox._acks_with_claims:
            claimed.add(_ACK_WITH_CLAIM)
        return ", ".join(need for need in self.needs if need not in claimed)


def check(
    *requires: Capability, needs_limit: bool = False, acks_with_claims: bool = False
) -> Callable[[CheckFunction], Check]:
    """Turns ``async def check_promise(sandbox)`` of the module ``subject`` into the check ``subject.promise``."""

    def to_check(run: CheckFunction) -> Check:
        subject = run.__module__.rpartition(".")[2]
        name = run.__name__.removeprefix("check_")
        return Check(f"{subject}.{name}", frozenset(requires), run, needs_limit, acks_with_claims)

    return to_check


def takes_limit(mailbox: Mailbox) -> bool:
    """Whether ``dequeue`` takes a limit. Its signature shows that, and also whether it can wait."""
    return mailbox._takes_limit


@dataclass(frozen=True)
class CheckResult:
    """How one check ended."""

    name: str
    outcome: Outcome
    detail: str
    """The traceback of a failure, or what an unsupported check would need; otherwise empty."""
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The result as plain data, ready for JSON."""
        return asdict(self)


async def run_each(
    checks: Sequence[Check], factory: MailboxFactory, only: Collection[str] | None = None
) -> AsyncIterator[tuple[CheckResult, Exception | None]]:
    """Runs the checks, or those named in ``only``, one after the other; yields each result with the failure itself."""
    if only is not None:
        unknown = sorted(set(only) - {check.name for check in checks})
        if unknown:
            raise ValueError(f"only names checks that do not exist: {', '.join(unknown)}")
    manifest = Sandbox(factory)
    try:
        claims = await manifest.open()
    finally:
        await manifest.close_all()
    for check in checks:
        if only is None or check.name in only:
            yield await _run_one(check, factory, claims)


async def _run_one(check: Check, factory: MailboxFactory, claims: Mailbox) -> tuple[CheckResult, Exception | None]:
    if lacking := check.lacking(claims):
        return CheckResult(check.name, "unsupported", lacking, 0.0), None
    start = time.perf_counter()
    try:
        await _try(check, factory)
    except Exception as error:
        failure = error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # nobody cancelled the run: the mailbox let a cancellation of its own escape
        failure = AssertionError("a CancelledError came out of the mailbox")
        failure.__cause__ = error
    else:
        return CheckResult(check.name, "passed", "", time.perf_counter() - start), None
    failure.add_note(f"{check.name}: {check.promise}")
    detail = "".join(traceback.format_exception(failure))
    return CheckResult(check.name, "failed", detail, time.perf_counter() - start), failure


async def _try(check: Check, factory: MailboxFactory) -> None:
    sandbox = Sandbox(factory)
    try:
        await _within(LONGEST_CHECK, check.run(sandbox), "the check")
    finally:
        await _within(LONGEST_CLOSE, sandbox.close_all(), "closing what the check left open")


async def _within(seconds: float, work: Awaitable[None], what: str) -> None:
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            await work
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise AssertionError(f"{what} was still running after {seconds:g} seconds") from error
