"""``storage_report`` and ``request_persistence``: information about the storage."""

from __future__ import annotations

import asyncio

from ...contract.capabilities import Capability
from ...contract.errors import UnsupportedError
from ...contract.values import StorageReport
from .._expect import expect, expect_equal
from .._sandbox import Sandbox
from .._suite import check

_PATIENCE_OF_THE_USER = 0.5
"""Seconds after which no answer is expected."""


def _is(value: object, *kinds: type) -> bool:
    """Whether it is None or exactly of one of the types: True is not a number here."""
    return value is None or type(value) in kinds


@check(Capability.STORAGE_REPORT)
async def check_report_says_what_was_asked_for(sandbox: Sandbox) -> None:
    """A report has the durability that its handle was opened with, strict by default."""
    for told in (None, "relaxed", "strict"):
        mailbox = await sandbox.open(**({} if told is None else {"durability": told}))
        expect_equal((await mailbox.storage_report()).durability, told or "strict", f"durability when told {told}")


@check(Capability.STORAGE_REPORT)
async def check_report_is_plain_data(sandbox: Sandbox) -> None:
    """Each field of a report has its type, or is None if the platform does not say; all convert to JSON and back."""
    mailbox = await sandbox.open()
    await mailbox.enqueue(b"sender", b"payload")
    report = await mailbox.storage_report()
    expect(isinstance(report, StorageReport), f"storage_report returned {report!r}")
    expect(_is(report.persistent, bool), f"persistent is {report.persistent!r}")
    expect(_is(report.usage, int) and (report.usage or 0) >= 0, f"usage is {report.usage!r}")
    expect(_is(report.quota, int) and (report.quota or 0) >= 0, f"quota is {report.quota!r}")
    expect(_is(report.wiped, bool), f"wiped is {report.wiped!r}")
    expect(report.wiped is not True, "wiped is True, but nobody cleared anything")
    expect_equal(StorageReport.from_dict(report.to_dict()), report, "the report, there and back")


@check(Capability.STORAGE_REPORT)
async def check_request_persistence_answers(sandbox: Sandbox) -> None:
    """``request_persistence`` is True or False, or an ``UnsupportedError`` where nobody can be asked."""
    mailbox = await sandbox.open()
    try:
        answer: object = await asyncio.wait_for(mailbox.request_persistence(), _PATIENCE_OF_THE_USER)
    except (UnsupportedError, TimeoutError):
        return  # Firefox asks the user, and nobody is there to answer
    expect(type(answer) is bool, f"request_persistence returned {answer!r}")
