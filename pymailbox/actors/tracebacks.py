"""A handler's failure as text, to be kept with its message."""

from __future__ import annotations

import traceback
from types import TracebackType

from ..contract.arguments import storable

LONGEST_TEXT = 8_000
"""Characters. A failure is stored with every retry, so its text must not outgrow the message."""

_LEFT_OUT = "\n… {} characters left out …\n"


def traceback_of(error: BaseException) -> str:
    """The traceback, from the handler's own frame on, at most ``LONGEST_TEXT`` characters: the middle is cut out."""
    own = from_handler(error.__traceback__)
    return shortened("".join(traceback.format_exception(type(error), error, own)).rstrip())


def from_handler(frames: TracebackType | None) -> TracebackType | None:
    """A traceback from the handler's own frame on."""
    while frames is not None and frames.tb_frame.f_globals.get("__package__") == __package__:
        frames = frames.tb_next
    return frames


def shortened(text: str) -> str:
    """The text as it is stored, at most ``LONGEST_TEXT`` characters."""
    text = storable(text)
    if len(text) <= LONGEST_TEXT:
        return text
    notice = _LEFT_OUT.format(len(text) - LONGEST_TEXT)
    kept = LONGEST_TEXT - len(notice) - 10
    # what went wrong stands at the end of a traceback
    return text[: kept // 3] + _LEFT_OUT.format(len(text) - kept) + text[len(text) - (kept - kept // 3) :]
