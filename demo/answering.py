"""How Python answers the page."""

import json
from typing import Any

from pymailbox import MailboxError


class Answering:
    """Serves one page. Each request is a method; `answer` calls it by name."""

    EXPLAINED: tuple[type[Exception], ...] = (MailboxError,)
    """What the page can explain."""

    async def answer(self, request: str, *arguments: Any) -> str:
        """Calls the method `request`; JSON with its `value`, or with the `failure` that the page is to explain."""
        try:
            return json.dumps({"value": await getattr(self, request)(*arguments)})
        except self.EXPLAINED as error:
            return json.dumps({"failure": describe(error)})


def describe(error: BaseException) -> dict[str, str]:
    """A failure for the page."""
    return {"name": type(error).__name__, "message": str(error)}
