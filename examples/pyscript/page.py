"""The page: leaves texts for the worker, and shows its answers, including those of earlier visits."""

import asyncio
from typing import Any

import counter
from pyscript import document, when

from pymailbox import open_mailbox


class More(asyncio.Event):
    """Set when messages were stored, here or in another tab or worker."""

    def on_depth_change(self, queued_messages: int) -> None:
        """The method of a depth observer."""
        self.set()


@when("click", "button")
async def send(event: Any) -> None:
    """Leaves the text that was typed."""
    field = document.querySelector("input")
    text, field.value = field.value, ""
    await counter.send(text)


async def show_answers() -> None:
    """Shows all answers, again whenever there are more."""
    async with open_mailbox("answers") as answers:
        more = More()
        answers.set_depth_observer(more)
        while True:
            more.clear()
            items = []
            for answer in await answers.peek(1000):
                items.append(document.createElement("li"))
                items[-1].textContent = answer.payload.decode()
            document.querySelector("ol").replaceChildren(*items)
            await more.wait()


showing = asyncio.ensure_future(show_answers())
document.querySelector("button").disabled = False
