"""Actors where only Pyodide can show it: synchronous waiting, and a page that is left."""

from typing import Any

import pytest

from tests.lanes.in_pyodide import install_wheel
from tests.lanes.runtimes import CALL_SECONDS, PythonRuntime
from tools.serve import Server

SYNCHRONOUSLY = """
import asyncio
from pymailbox import UnsupportedError, open_mailbox, run_sync

def works_synchronously():
    mailbox = run_sync(open_mailbox("memory://run-sync"))
    try:
        run_sync(mailbox.enqueue(b"me", b"hello"))
        handled = []

        def handler(message, context):
            # a synchronous handler may wait as well
            handled.append((message.payload, run_sync(mailbox.status()).inflight_messages))
            context.stop()

        run_sync(mailbox.consume(handler))
        return repr((handled, run_sync(mailbox.status()).queued_messages))
    finally:
        run_sync(mailbox.close())

try:
    answer = works_synchronously()
except UnsupportedError as error:
    answer = str(error)
answer
"""

LEAVING = """
import asyncio
import js
from pymailbox import open_mailbox
from pymailbox.actors import consumer as consumer_module

consumer_module.PAUSE_AFTER_UNLOAD = 1000.0
mailbox, other = await open_mailbox("leaving"), await open_mailbox("leaving")
await mailbox.purge()
for number in range(4):
    await mailbox.enqueue(b"me", b"%d" % number)
seen, may_end = [], asyncio.Event()

async def handler(message):
    seen.append(message.payload)
    await may_end.wait()

consumer = mailbox.consume(handler)
task = asyncio.ensure_future(consumer)
while not seen:
    await asyncio.sleep(0.01)
js.dispatchEvent(js.Event.new("pagehide"))
may_end.set()
taken = []
while not taken:
    taken = [(record.payload, record.delivery_count) for record in await other.dequeue(2)]
    await asyncio.sleep(0.01)
seen_meanwhile = list(seen)
consumer._resume()
while len(seen) < 2:
    await asyncio.sleep(0.01)
consumer.stop()
await task
await other.close()
stats = await mailbox.status()
await mailbox.purge()
await mailbox.close()
repr((taken, seen_meanwhile, seen, stats.queued_messages, stats.inflight_messages))
"""


@pytest.mark.browser
@pytest.mark.driver_timeout(CALL_SECONDS)
def test_run_sync_in_chromium(selenium: Any, server: Server) -> None:
    install_wheel(selenium, server)
    assert selenium.run_async(SYNCHRONOUSLY) == "([(b'hello', 1)], 0)"


@pytest.mark.browser
@pytest.mark.driver_timeout(CALL_SECONDS)
def test_page_that_is_left_and_comes_back(selenium: Any, server: Server) -> None:
    install_wheel(selenium, server)
    assert selenium.run_async(LEAVING) == repr(([(b"1", 1), (b"2", 1)], [b"0"], [b"0", b"3"], 2, 0))


@pytest.mark.slow
def test_run_sync_is_refused_in_node(node: PythonRuntime) -> None:
    assert "JavaScript Promise Integration" in node.run_async(SYNCHRONOUSLY)
