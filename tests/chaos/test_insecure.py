"""An insecure context (neither https nor localhost) has no Web Locks: heartbeat and lease show who lives."""

import json
from collections.abc import Iterator

import pytest

from tests.chaos.devtools import Tab
from tests.chaos.in_chromium import ChromiumStage

pytestmark = pytest.mark.browser

HOST = "insecure.test"
LEASE = 2.0


@pytest.fixture(scope="module")
def stage() -> Iterator[ChromiumStage]:
    """A browser that knows the server by another name."""
    with ChromiumStage(HOST, [f"--host-resolver-rules=MAP {HOST} 127.0.0.1"]) as stage:
        yield stage


@pytest.fixture(params=["page", "worker"])
def holder(request: pytest.FixtureRequest, stage: ChromiumStage) -> Iterator[Tab]:
    """A tab whose Python holds a message."""
    tab = stage.open_tab(request.param)
    assert tab.evaluate("'locks' in navigator") is False
    tab.run_async(
        f"""
        from pymailbox import delete_mailbox, open_mailbox

        await delete_mailbox("indexeddb://insecure")
        box = await open_mailbox("indexeddb://insecure", lease={LEASE})
        await box.enqueue(b"alice", b"hello")
        (message,) = await box.dequeue()
        None
        """
    )
    yield tab
    tab.close()


def wait_for_delivery(stage: ChromiumStage, seconds: float) -> tuple[list[int], float]:
    """What another handle gets within that many seconds: delivery counts, and after how many seconds."""
    answer = stage.onlooker.run_async(
        f"""
        import json, time
        from pymailbox import open_mailbox

        began = time.monotonic()
        async with open_mailbox("indexeddb://insecure", lease={LEASE}) as box:
            counts = [message.delivery_count for message in await box.dequeue(wait={seconds})]
        json.dumps([counts, time.monotonic() - began])
        """
    )
    counts, waited = json.loads(answer)
    return counts, waited


def test_holder_that_lives_keeps_its_message_beyond_its_lease(holder: Tab, stage: ChromiumStage) -> None:
    assert wait_for_delivery(stage, LEASE * 2)[0] == []
    assert holder.run_async("await box.ack(message.id)") is True


def test_holder_that_dies_is_gone_after_its_lease(
    holder: Tab, stage: ChromiumStage, redeliveries: dict[str, float | None]
) -> None:
    holder.crash()
    counts, waited = wait_for_delivery(stage, LEASE * 4)
    redeliveries[f"chromium, insecure: page crashed, with a lease of {LEASE} s"] = waited
    assert counts == [2]
    assert waited > LEASE / 2, "it was taken for dead before its lease was over"
    assert waited < LEASE * 4, "only the end of the waiting brought it"
