"""A holder in a loop that lets no event through, beyond its lease: if its lock shows it, it still lives."""

import json

import pytest

from tests.chaos.in_chromium import ChromiumStage

pytestmark = pytest.mark.browser

LEASE = 0.5
BLOCKED = 2.5


@pytest.mark.parametrize("place", ["page", "worker"])
def test_blocked_handler_keeps_its_message(place: str, stage: ChromiumStage) -> None:
    stage.patiently(lambda: play(place, stage))


def play(place: str, stage: ChromiumStage) -> None:
    """A handler that is blocked beyond its lease, and an onlooker who looks all the time."""
    location = f"indexeddb://blocked-{place}"
    onlooker, holder = stage.onlooker, stage.open_tab(place)  # both exist before anything is blocked
    holder.run_async(
        f"""
        import asyncio, json, time
        from pymailbox import open_mailbox

        box = await open_mailbox("{location}", lease={LEASE})
        await box.enqueue(b"alice", b"hello")
        (message,) = await box.dequeue()
        span = []

        def block():
            span.append(time.time())
            while time.time() < span[0] + {BLOCKED}:
                pass
            span.append(time.time())

        asyncio.get_running_loop().call_later(0.3, block)
        None
        """
    )
    answer = onlooker.run_async(
        f"""
        import json, time
        from pymailbox import open_mailbox

        box = await open_mailbox("{location}", lease={LEASE})
        delivered, looks, until = 0, [], time.time() + {BLOCKED} + 1
        while time.time() < until:
            delivered += len(await box.dequeue(wait={LEASE} / 2))
            await box.recover()
            looks.append(time.time())
        json.dumps([delivered, looks])
        """
    )
    delivered, looks = json.loads(answer)
    began, ended = json.loads(holder.run_async("json.dumps(span)"))
    acknowledged = holder.run_async("await box.ack(message.id)")
    holder.close()
    assert ended - began > LEASE * 2
    assert [look for look in looks if began + LEASE * 2 < look < ended], "nobody looked while it was blocked"
    assert delivered == 0
    assert acknowledged is True
