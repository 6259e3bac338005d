"""The JavaScript engine: finds it, loads it once, and turns its errors into ours.

The engine is an ES module, ``pymailbox/js/index.js``, or a few dozen in a wheel that was built without esbuild. They
are imported from where the wheel was unpacked, as blob URLs, if the page's Content-Security-Policy allows code to be
evaluated and blobs to be scripts. Any other page (or worker) imports ``index.js`` itself and hands it over as the
module ``pymailbox_js``; then nothing is evaluated here.
"""

from __future__ import annotations

import asyncio
import importlib
import posixpath
import re
from importlib.resources import files
from typing import Any

from ...contract import errors
from ...contract.errors import NOT_IN_PAGES, MailboxError, StorageUnavailableError
from ...contract.location import IN_PYODIDE, missing_backend

HANDED_OVER = "pymailbox_js"
"""The name under which a page hands the engine over."""

_IMPORT = re.compile(r"""\b(from|import) (["'])(\.{1,2}/[\w./-]+\.js)\2""")

_loaded: Any = None
_loading: asyncio.Future[Any] | None = None


async def load_engine() -> Any:
    """The one engine of this page or worker, however many ask for it at once.

    Raises:
        StorageUnavailableError: this is not a browser, or the page's policy forbids loading the engine and nobody
        handed it over.
    """
    global _loaded
    if _loaded is None:
        if not _has_indexeddb():
            raise missing_backend("indexeddb", f"IndexedDB exists only in browsers; {_what_is_here()}")
        js_module = _handed_over() or await _load_once()
        if _loaded is None:  # somebody else may have made it meanwhile
            _loaded = js_module.python.ownEngineForPython()
    return _loaded


async def _load_once() -> Any:
    global _loading
    if _loading is None:
        _loading = asyncio.ensure_future(_load_from_wheel())
        _loading.add_done_callback(_note_loaded)
    return await asyncio.shield(_loading)  # a caller that gives up does so only for itself


def _note_loaded(loading: asyncio.Future[Any]) -> None:
    """If it failed, the next call tries again, even if nobody waits for this one."""
    global _loading
    _loading = None
    if not loading.cancelled():
        loading.exception()


def error_of(js_error: Any) -> MailboxError:
    """An error of the engine as ours."""
    kind: type[MailboxError] = getattr(errors, js_error.name, MailboxError)
    error = kind(js_error.message, passing=getattr(js_error, "passing", None))
    error.__cause__ = js_error if isinstance(js_error, BaseException) else None
    return error


def _has_indexeddb() -> bool:
    if not IN_PYODIDE:
        return False
    import js

    return hasattr(js, "indexedDB")


def _what_is_here() -> str:
    if files("pymailbox").joinpath("backends", "sqlite", "mailbox.py").is_file():
        return "use sqlite:///FILE#NAME or memory://NAME here"
    return f"use memory://NAME here. There is also sqlite:///FILE#NAME, but {NOT_IN_PAGES}"


def _handed_over() -> Any:
    try:
        return importlib.import_module(HANDED_OVER)
    except ModuleNotFoundError:
        return None


async def _load_from_wheel() -> Any:
    from pyodide.code import run_js
    from pyodide.ffi import JsException, to_js

    from js import URL, Blob

    urls: dict[str, str] = {}

    def url_of(name: str) -> str:
        """A blob URL of a module, by its path in the engine; the URLs of the modules that it imports are written into
        it."""
        if name not in urls:
            source = files("pymailbox").joinpath("js", name).read_text("utf-8")
            folder = posixpath.dirname(name)
            linked = _IMPORT.sub(
                lambda match: f'{match[1]} "{url_of(posixpath.normpath(posixpath.join(folder, match[3])))}"', source
            )
            options = to_js({"type": "text/javascript"}, dict_converter=_object_from_entries())
            urls[name] = URL.createObjectURL(Blob.new(to_js([linked]), options))
        return urls[name]

    try:
        return await run_js("(url) => import(url)")(url_of("index.js"))
    except JsException as error:
        raise StorageUnavailableError(
            "this page's Content-Security-Policy does not let pymailbox load its engine; import pymailbox/js/index.js "
            f'in JavaScript and hand it over: pyodide.registerJsModule("{HANDED_OVER}", module)'
        ) from error
    finally:
        for url in urls.values():
            URL.revokeObjectURL(url)


def _object_from_entries() -> Any:
    from js import Object

    return Object.fromEntries
