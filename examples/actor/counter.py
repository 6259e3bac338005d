"""An actor that counts words. The same file runs in a page and on CPython; only the place of its mailboxes differs."""

from collections.abc import Callable

from pymailbox import Context, MessageRecord, open_mailbox


async def send(text: str) -> None:
    """Leaves a text for the actor, whether it runs or not."""
    async with open_mailbox("texts") as texts:
        await texts.enqueue(b"you", text.encode())


async def run(show: Callable[[str], object]) -> None:
    """Answers every text until it is cancelled; `show` gets each answer, those of earlier runs first."""
    async with open_mailbox("texts") as texts, open_mailbox("answers") as answers:
        for answer in await answers.peek(1000):
            show(answer.payload.decode())

        def handle(message: MessageRecord, context: Context) -> None:
            text = message.payload.decode()
            answer = f"{len(text.split())} words: {text}"
            # stored together with the acknowledgement of the text, or not at all
            context.send(answers, b"counter", answer.encode())
            show(answer)

        await texts.consume(handle)
