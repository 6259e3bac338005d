"""What comes from a NATS server, taken apart: nats-py's parser, with a quick way for what the mailbox listens to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

_logger = logging.getLogger("pymailbox")

OnMessage: TypeAlias = Callable[[bytes, bytes, bytes, bytes], None]
"""Called with the subject of a message, where an answer is to go, its data, and its headers as they came."""

_LINE_END: Final = b"\r\n"


class QuickParser(Parser):
    """Calls who listens in the turn in which a message comes.

    nats-py's way to a subscriber, which has a regular expression, a queue and a task in it, takes several times as
    long. All else goes that way.
    """

    def __init__(self, client: Any) -> None:
        self.listeners: dict[bytes, OnMessage] = {}
        """By the numbers of their subscriptions."""
        super().__init__(client)

    def reset(self) -> None:
        super().reset()
        self._rest: list[bytes] = []
        """The beginning of a message."""
        self.missing = 0
        """How many bytes it needs at least."""

    async def parse(self, data: bytes = b"") -> None:
        rest = self.feed(data)
        if rest:
            await super().parse(rest)

    def feed(self, data: bytes) -> bytes:
        """Takes what comes; what is left of it is for nats-py."""
        if self.state != AWAITING_CONTROL_LINE:
            return data
        if self.buf:
            data = bytes(self.buf) + data
            self.buf.clear()
        self._rest.append(data)
        self.missing -= len(data)
        if self.missing > 0:
            return b""
        data = b"".join(self._rest)
        self._rest.clear()
        at = self._take(data)
        if self.missing:
            self._rest.append(data[at:])
            return b""
        return data[at:]

    def _take(self, data: bytes) -> int:
        """Passes on all messages for listeners until something else comes; where what is left begins."""
        at, end = 0, len(data)
        self.missing = 0
        while at < end:
            line_end = data.find(_LINE_END, at)
            if line_end < 0:
                self.missing = 1
                break
            words = data[at:line_end].split()
            kind = words[0] if words else b""
            try:
                if kind == b"MSG" and len(words) > 3:
                    head, reply = 0, words[3] if len(words) == 5 else b""
                elif kind == b"HMSG" and len(words) > 4:
                    head, reply = int(words[-2]), words[3] if len(words) == 6 else b""
                else:
                    break
                size = int(words[-1])
            except ValueError:
                break
            listener = self.listeners.get(words[2])
            if listener is None or not 0 <= head <= size:
                break
            begin = line_end + 2
            body_end = begin + size
            if body_end + 2 > end:
                self.missing = body_end + 2 - end
                break
            at = body_end + 2
            try:
                listener(words[1], reply, data[begin + head : body_end], data[begin : begin + head])
            except Exception as error:
                log_failure(words[1], error)
        return at


def log_failure(subject: bytes, error: Exception) -> None:
    """Of a listener; the next message may be another matter."""
    _logger.debug("a message on %r means nothing: %r", subject, error)


def headers_of(raw: bytes) -> dict[str, str]:
    """Headers as they came, or as a stream keeps them; what the server says in their first line is `Status`."""
    first, *lines = raw.decode("utf-8", "replace").split("\r\n")
    headers = {}
    words = first.split(maxsplit=2)
    if len(words) > 1 and words[1].isdigit():
        headers["Status"] = words[1]
    for line in lines:
        name, colon, text = line.partition(":")
        if colon:
            headers[name.strip()] = text.strip()
    return headers


def lower_case(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers by their names in lower case: clients write them as they like."""
    return {name.lower(): text for name, text in headers.items()}
