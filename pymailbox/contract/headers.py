"""Headers: texts by name that travel with a message, and how they are stored."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from .limits import LARGEST_HEADERS, MOST_HEADERS


class Headers(Mapping[str, str]):
    """The headers of a message: a read-only mapping, equal to any mapping with the same texts."""

    __slots__ = ("_texts",)

    def __init__(self, texts: Mapping[str, str] | None = None) -> None:
        self._texts: dict[str, str] = {} if texts is None else dict(texts)

    def __getitem__(self, name: str) -> str:
        return self._texts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)

    def __hash__(self) -> int:
        return hash(frozenset(self._texts.items()))

    def __repr__(self) -> str:
        return f"Headers({self._texts!r})"


NO_HEADERS: Final = Headers()


def pack_headers(headers: Any, where: str = "") -> bytes:
    """Headers as they are stored: a JSON list of names and texts alternating; nothing for none.

    ``where`` goes before the argument's name in errors, as in ``messages[3].``.

    Raises:
        TypeError: they are not a mapping of texts to texts.
        ValueError: there are too many, they are too long, or UTF-8 cannot hold one of them.
    """
    if headers is None:
        return b""
    if not isinstance(headers, Mapping):
        raise TypeError(f"{where}headers must be a mapping of str to str, not {type(headers).__name__}")
    flat: list[str] = []
    for name, text in headers.items():
        if not isinstance(name, str):
            raise TypeError(f"{where}headers must have names of type str, not {type(name).__name__}")
        if not isinstance(text, str):
            raise TypeError(f"{where}headers[{name!r}] must be a str, not {type(text).__name__}")
        flat += name, text
    if len(flat) > 2 * MOST_HEADERS:
        raise ValueError(f"{where}headers must be at most {MOST_HEADERS}, not {len(flat) // 2}")
    try:
        size = sum(len(str.encode(text)) for text in flat)  # a subclass may have an ``encode`` of its own
    except UnicodeEncodeError as error:
        raise ValueError(f"{where}headers must be texts that UTF-8 can hold: {error}") from None
    if size > LARGEST_HEADERS:
        raise ValueError(f"{where}headers must hold at most {LARGEST_HEADERS} bytes of UTF-8 in all, not {size}")
    return json.dumps(flat, ensure_ascii=False, separators=(",", ":")).encode() if flat else b""


def unpack_headers(stored: bytes) -> Headers:
    """What ``pack_headers`` made.

    Raises:
        ValueError: it did not make this.
    """
    if not stored:
        return NO_HEADERS
    try:
        flat = json.loads(stored)
    except RecursionError as error:
        raise ValueError("these are not headers") from error
    if not isinstance(flat, list) or len(flat) % 2 or not all(isinstance(text, str) for text in flat):
        raise ValueError("these are not headers")
    return Headers(dict(zip(flat[::2], flat[1::2], strict=True)))
