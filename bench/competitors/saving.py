"""How a queue in a SQLite file becomes durable: with fsync on CPython, with IDBFS and ``syncfs`` in Pyodide.

On CPython a commit that stores is fsynced if the row is strict; no competitor's claims and acknowledgements are. In
Pyodide the file is in memory, and ``syncfs`` copies it to IndexedDB after each store and each acknowledgement, but not
after a claim: a claim is valid in this page only, and a page that opens the file drops all claims anyway.
"""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

from bench.queues import Durability

if sys.platform == "emscripten":
    import bench_durability

    from bench.competitors.browser import IdbfsFolder
else:
    from bench.competitors.files import delete_folder, folder_of


class Saving:
    """What its queue calls around its own commits."""

    def __init__(self, connection: sqlite3.Connection, durability: Durability, folder: Folder) -> None:
        self._connection = connection
        self._durability = durability
        self._folder = folder
        self._full: bool | None = None

    def storing(self) -> None:
        self._synchronous(self._durability == "strict")

    def moving(self) -> None:
        self._synchronous(False)

    async def stored(self) -> None:
        await self._folder.save(self._durability)

    async def acknowledged(self) -> None:
        await self._folder.save("relaxed")

    def _synchronous(self, full: bool) -> None:
        if sys.platform != "emscripten" and full is not self._full:
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
            self._full = full


class Folder:
    """The place of a competitor's file."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._mounted = False
        if sys.platform == "emscripten":
            self.path = Path(f"/bench-{name}")
            self._idbfs = IdbfsFolder(str(self.path))
        else:
            self.path = folder_of(name)

    async def open(self) -> None:
        if sys.platform == "emscripten" and not self._mounted:
            await self._idbfs.mount()
        self._mounted = True

    async def save(self, durability: Durability) -> None:
        if sys.platform == "emscripten":
            bench_durability.start(durability)
            try:
                await self._idbfs.save()
            finally:
                bench_durability.stop()

    async def delete(self) -> None:
        if sys.platform == "emscripten":
            await self._idbfs.delete()
        else:
            delete_folder(self._name)
        self._mounted = False
