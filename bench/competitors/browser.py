"""What competitors in Pyodide need of the browser."""

from __future__ import annotations

import asyncio
from typing import Any

import bench_indexeddb
from pyodide.ffi import create_once_callable

import js


async def delete_database(name: str) -> None:
    """Deletes an IndexedDB database; no connection to it may be open."""
    deleted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    request = js.indexedDB.deleteDatabase(name)
    request.onsuccess = create_once_callable(lambda _event: deleted.set_result(None))
    request.onblocked = create_once_callable(
        lambda _event: deleted.set_exception(RuntimeError(f"{name} is still open: it cannot be deleted"))
    )
    await deleted


async def stored_bytes(name: str) -> int:
    """How many bytes the rows of a database hold."""
    return int(await bench_indexeddb.storedBytes(name))


class IdbfsFolder:
    """A persistent folder in Pyodide's file system, as in Pyodide's documentation: IDBFS and ``syncfs``."""

    def __init__(self, path: str) -> None:
        import pyodide_js

        self._fs: Any = pyodide_js.FS
        self._path = path

    async def mount(self) -> None:
        self._fs.mkdirTree(self._path)
        self._fs.mount(self._fs.filesystems.IDBFS, js.Object.new(), self._path)
        await self._sync(True)

    async def save(self) -> None:
        """Writes what has changed to IndexedDB."""
        await self._sync(False)

    async def delete(self) -> None:
        """Unmounts the folder, and deletes it."""
        self._fs.unmount(self._path)
        self._fs.filesystems.IDBFS.quit()
        await delete_database(self._path)

    async def _sync(self, populate: bool) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def synced(error: Any) -> None:
            if error:
                done.set_exception(RuntimeError(str(error)))
            else:
                done.set_result(None)

        self._fs.syncfs(populate, create_once_callable(synced))
        await done
