"""Payloads that are JSON.

Both ways there is a limit to how deep a value may be: on WebAssembly, Python's own encoder and parser end the whole
interpreter where they run out of stack.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn

CONTENT_TYPE: Final = "content-type"
JSON_TYPE: Final = "application/json"

DEEPEST_JSON: Final = 500
"""How deep lists and objects may be nested."""

_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))


def json_payload(value: Any, name: str = "value") -> bytes:
    """A value as JSON in UTF-8.

    Raises:
        TypeError: it holds something that JSON cannot hold.
        ValueError: it holds a NaN or an infinity, contains itself, or is nested too deeply.
    """
    if _is_deep(value):
        raise ValueError(
            f"{name} cannot be written as JSON: it contains itself, or has more than {DEEPEST_JSON} levels"
        )
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name} cannot be written as JSON: {error}") from None
    # a lone surrogate, which UTF-8 cannot hold, becomes the escape that JSON has for it
    return text.encode("utf-8", "backslashreplace")


def json_headers(headers: Mapping[str, str] | None) -> Mapping[str, str]:
    """Headers that say that the payload is JSON, unless they say what it is already."""
    if headers is None:
        return {CONTENT_TYPE: JSON_TYPE}
    if not isinstance(headers, Mapping) or CONTENT_TYPE in headers:
        return headers  # the verb that takes them says what is wrong
    return {CONTENT_TYPE: JSON_TYPE, **headers}


def parsed(payload: bytes) -> Any:
    """What a payload says.

    Raises:
        ValueError: it is not JSON in UTF-8, or too deep.
    """
    if payload.count(b"[") + payload.count(b"{") > DEEPEST_JSON and _seems_deep(payload):
        raise ValueError(f"it has more than {DEEPEST_JSON} levels")
    return json.loads(payload.decode("utf-8-sig"), parse_constant=_refuse)


def _is_deep(value: Any) -> bool:
    """Whether a value is nested too deeply, or contains itself."""
    level = [value] if isinstance(value, (dict, list, tuple)) else []  # each once, however often it is there
    for _ in range(DEEPEST_JSON):
        if not level:
            return False
        below = {
            id(inner): inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list, tuple))
        }
        level = list(below.values())
    return bool(level)


def _seems_deep(payload: bytes) -> bool:
    """Whether its brackets, except those in strings, are nested too deeply."""
    brackets = _STRING.sub(b"", payload).translate(None, _NO_BRACKETS)
    for _ in range(DEEPEST_JSON):
        inner = brackets.replace(b"[]", b"").replace(b"{}", b"")  # which takes away the innermost level
        if len(inner) == len(brackets):
            break
        brackets = inner
    return len(brackets) > DEEPEST_JSON  # or what is left cannot be deep, if it is JSON at all


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
