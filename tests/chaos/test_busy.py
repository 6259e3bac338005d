"""A mailbox that never runs dry: what a gone holder held still comes back."""

import json
from collections.abc import Callable

import pytest

from tests.chaos.devtools import Tab
from tests.chaos.in_chromium import ChromiumStage

pytestmark = pytest.mark.browser

LOCATION = "indexeddb://busy"
BACKLOG = 100
SECONDS = 20.0


def end_worker(holder: Tab) -> None:
    holder.evaluate("endWorker()")


def freeze(holder: Tab) -> None:
    holder.freeze()


@pytest.mark.parametrize(("place", "end", "deliveries"), [("worker", end_worker, 2), ("page", freeze, 1)])
def test_what_was_held_comes_back_while_others_keep_coming(
    place: str, end: Callable[[Tab], None], deliveries: int, stage: ChromiumStage, redeliveries: dict[str, float | None]
) -> None:
    found, seconds = stage.patiently(lambda: play(place, end, stage))
    redeliveries[f"chromium, in a mailbox that never runs dry: {place}"] = seconds
    assert found == deliveries


def play(place: str, end: Callable[[Tab], None], stage: ChromiumStage) -> tuple[int | None, float]:
    """With how many deliveries the held message comes to the onlooker, if it does, and after how many seconds."""
    onlooker, holder = stage.onlooker, stage.open_tab(place)
    onlooker.run_async(
        f"""
        from pymailbox import NewMessage, delete_mailbox, open_mailbox

        await delete_mailbox("{LOCATION}")
        box = await open_mailbox("{LOCATION}")  # before anybody holds anything
        await box.enqueue_many(NewMessage(b"alice", b"%d" % number) for number in range({BACKLOG}))
        None
        """
    )
    holder.run_async(
        f"""
        from pymailbox import open_mailbox

        box = await open_mailbox("{LOCATION}")
        (message,) = await box.dequeue(1)
        None
        """
    )
    end(holder)
    answer = onlooker.run_async(
        f"""
        import json, time

        began = time.monotonic()
        found = None
        while found is None and time.monotonic() < began + {SECONDS}:
            (message,) = await box.dequeue(1)
            if message.payload == b"0":
                found = message.delivery_count
            await box.ack(message.id)
            await box.enqueue(b"alice", b"more")
        seconds = time.monotonic() - began
        await box.close()
        json.dumps([found, seconds])
        """
    )
    holder.close()
    found, seconds = json.loads(answer)
    return found, seconds
