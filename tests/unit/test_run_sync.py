"""``run_sync`` where it is impossible: ``tests/lanes/test_actors.py`` tries it in a browser."""

from __future__ import annotations

import asyncio

import pytest

from pymailbox import MailboxError, UnsupportedError, open_mailbox, run_sync


def test_cpython_is_a_clear_error() -> None:
    async def main() -> None:
        raise AssertionError("it must not run")

    with pytest.raises(UnsupportedError, match=r"pymailbox\.sync .* asyncio\.run"):
        run_sync(main())
    with pytest.raises(MailboxError, match="Pyodide"):
        run_sync(open_mailbox("memory://"))


async def test_inside_a_loop_too() -> None:
    with pytest.raises(UnsupportedError):
        run_sync(asyncio.sleep(0))
