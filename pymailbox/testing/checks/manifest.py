"""``Mailbox.capabilities`` is what callers rely on, so it has to be true both ways."""

from __future__ import annotations

from ...contract.capabilities import Capability
from ...contract.errors import UnsupportedError
from .._expect import expect, expect_equal, expect_error
from .._sandbox import Sandbox
from .._suite import check
from .._verbs import USES, verbs_of


@check()
async def check_capabilities_are_a_frozenset(sandbox: Sandbox) -> None:
    """``capabilities`` is a frozenset of ``Capability`` members."""
    capabilities = (await sandbox.open()).capabilities
    expect(isinstance(capabilities, frozenset), f"capabilities is a {type(capabilities).__name__}, no frozenset")
    strangers = set(capabilities) - set(Capability)
    expect(not strangers, f"capabilities has {strangers}, which are no Capability")


@check()
async def check_what_is_claimed_works(sandbox: Sandbox) -> None:
    """No verb that the mailbox claims raises ``UnsupportedError``, and a claimed observer can be set."""
    mailbox = await sandbox.open()
    for name, call in verbs_of(mailbox, to_the_end=True).items():
        try:
            result = await call(mailbox)
        except UnsupportedError as error:
            raise AssertionError(f"{name} is claimed but raises {error!r}") from error
        if name == "set_depth_observer":
            expect_equal(result, True, "set_depth_observer")


@check()
async def check_what_is_not_claimed_is_refused(sandbox: Sandbox) -> None:
    """A verb that is not claimed raises ``UnsupportedError`` and stores nothing; setting an observer is False."""
    mailbox = await sandbox.open()
    for name, use in USES.items():
        if use.capability in (None, *mailbox.capabilities):
            continue
        if use.capability is Capability.DEPTH_OBSERVER:
            expect_equal(await use.call(mailbox), False, "set_depth_observer, which is not claimed")
        elif name.startswith("enqueue("):
            # a class with only the core verbs has no such keyword, and Python itself refuses it
            await expect_error((UnsupportedError, TypeError), use.call, mailbox, what=name)
        else:
            await expect_error(UnsupportedError, use.call, mailbox, what=name)
    expect_equal((await mailbox.status()).queued_messages, 0, "queued messages after verbs that were refused")
