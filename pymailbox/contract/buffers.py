"""What counts as bytes: ``bytes``, and buffers whose items are single bytes. Others may hold memory addresses."""

from __future__ import annotations

from typing import Any

_BYTE_FORMATS = frozenset({"B", "b", "c"})


def size_of(name: str, value: Any) -> int:
    """How many bytes a value holds; nothing is copied.

    Raises:
        TypeError: it is not bytes; the text begins with ``name``.
    """
    if type(value) is bytes:
        return len(value)
    if isinstance(value, str):
        raise TypeError(f"{_wanted(name, value)}; text.encode() turns text into bytes")
    try:
        view = memoryview(value)
    except TypeError:
        hint = "; its to_bytes() makes bytes of it" if hasattr(value, "to_memoryview") else ""  # from JavaScript
        raise TypeError(_wanted(name, value) + hint) from None
    except (ValueError, BufferError) as error:
        raise TypeError(f"{name} has no bytes that can be read: {error}") from None
    with view:
        if view.ndim == 0:
            raise TypeError(_wanted(name, value))
        if view.format.lstrip("@=<>!") not in _BYTE_FORMATS:
            raise TypeError(f"{_wanted(name, value)} with items of the format {view.format!r}")
        return view.nbytes


def copy_of(name: str, value: Any) -> bytes:
    """The bytes of a value, as they are now; the value itself if it is ``bytes``.

    Raises:
        TypeError: as ``size_of``.
    """
    if type(value) is bytes:
        return value
    size_of(name, value)
    return bytes(memoryview(value))


def _wanted(name: str, value: Any) -> str:
    kind = "None" if value is None else type(value).__name__
    return f"{name} must be bytes or another bytes-like value, not {kind}"
