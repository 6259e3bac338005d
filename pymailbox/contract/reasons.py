"""Why a message was given up, in words: the same in every backend, and in ``js/model/reasons.js``."""

from __future__ import annotations


def unreadable_reason(count: int) -> str:
    return f"{count} message(s) could not be read: something else wrote into the store"


def failed_reason(failures: int, max_deliveries: int) -> str:
    return f"{failures} of at most {max_deliveries} deliveries failed"


def died_reason(failures: int, max_deliveries: int) -> str:
    return f"its holder died; {failed_reason(failures, max_deliveries)}"
