"""Questions of a page that is left and continues: its reply mailbox may have been taken for a dead one's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pymailbox import Context, MessageRecord, ask, delete_mailbox, list_mailboxes, open_mailbox
from pymailbox.actors.reply_mailboxes import marker_of
from tests.indexeddb.scenarios.support import come_back, eventually, leave_page

TIMEOUT = 60.0


def _echo(message: MessageRecord, context: Context) -> None:
    context.reply(b"re: " + message.payload)


@asynccontextmanager
async def _answering(name: str) -> AsyncIterator[None]:
    async with open_mailbox(name) as inbox:
        consumer = inbox.consume(_echo)
        task = asyncio.ensure_future(consumer)
        try:
            yield
        finally:
            consumer.stop()
            await task


async def _reply_mailboxes() -> list[str]:
    return [name for name in await list_mailboxes("indexeddb://") if marker_of(name)]


async def _is_held(name: str) -> bool:
    async with open_mailbox(f"indexeddb://{name}") as mailbox:
        return (await mailbox.status()).inflight_messages == 1


async def check_asker_whose_page_goes_on_asks_again() -> None:
    async with open_mailbox("asked before") as asker, _answering("asked before"):
        await ask(asker, b"first", timeout=TIMEOUT)
        (name,) = await _reply_mailboxes()
        assert await _is_held(name)
        leave_page()
        come_back()
        await eventually(lambda: _is_held(name), "the mailbox for answers is held again")
        assert (await ask(asker, b"again", timeout=TIMEOUT)).payload == b"re: again"
        assert await _reply_mailboxes() == [name]
    assert await _reply_mailboxes() == []


async def check_asker_whose_mailbox_was_deleted_meanwhile() -> None:
    async with open_mailbox("deleted meanwhile") as asker, _answering("deleted meanwhile"):
        await ask(asker, b"first", timeout=TIMEOUT)
        (name,) = await _reply_mailboxes()
        leave_page()
        assert await delete_mailbox(f"indexeddb://{name}")
        come_back()
        assert (await ask(asker, b"again", timeout=TIMEOUT)).payload == b"re: again"
        await eventually(lambda: _is_held(name), "the mailbox for answers is held again")
    assert await _reply_mailboxes() == []
