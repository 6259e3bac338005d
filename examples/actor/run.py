"""The actor of counter.py as a program; its mailboxes are in the file pymailbox.db of the current folder.

python run.py                       answers texts until Ctrl+C ends it
python run.py "three short words"   leaves a text for it, whether it runs or not
"""

import asyncio
import contextlib
import sys

import counter


async def main(texts: list[str]) -> None:
    """Leaves the texts; without texts, runs the actor."""
    for text in texts:
        await counter.send(text)
    if not texts:
        await counter.run(print)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1:]))
