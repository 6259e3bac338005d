"""Exports as downloads and uploads of a page; for Pyodide."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

from ..contract.mailbox import Mailbox
from .exporting import export

_PIECE: Final = 1024 * 1024
"""Bytes that cross between Python and JavaScript at a time."""


async def to_blob(mailbox: Mailbox) -> Any:
    """The export of a mailbox as a JavaScript ``Blob``, which the browser may keep on its disk.

    For a download, use ``URL.createObjectURL`` of it as a link. Raises what ``export`` raises.
    """
    from js import Blob

    js_parts: list[Any] = []
    lines: list[bytes] = []
    size = 0
    async for line in export(mailbox):
        lines.append(line)
        size += len(line)
        if size >= _PIECE:
            js_parts.append(_blob(Blob, [b"".join(lines)]))
            lines, size = [], 0
    return _blob(Blob, [*js_parts, b"".join(lines)])


async def pieces_of(js_blob: Any) -> AsyncIterator[bytes]:
    """The content of a JavaScript ``Blob`` or ``File``, such as an upload, piece by piece, for ``import_``."""
    size = int(js_blob.size)
    for start in range(0, size, _PIECE):
        js_buffer = await js_blob.slice(start, min(size, start + _PIECE)).arrayBuffer()
        yield js_buffer.to_bytes()


def _blob(js_blob_class: Any, parts: list[Any]) -> Any:
    from pyodide.ffi import to_js

    from js import Object

    options = to_js({"type": "application/x-ndjson"}, dict_converter=Object.fromEntries)
    return js_blob_class.new(to_js(parts), options)
