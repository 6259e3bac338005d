"""When the network may be back: what a page is told of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..contract.location import IN_PYODIDE


def when_it_may_be_back(callback: Callable[[], None]) -> Callable[[], None]:
    """Calls back when the browser goes online, and when the page becomes visible, until what this returns is called.

    Outside a browser that never happens.
    """
    if not IN_PYODIDE:
        return lambda: None
    from pyodide.ffi import create_proxy

    import js

    document = getattr(js, "document", None)  # a worker has none

    def hear(_: Any) -> None:
        if document is None or document.visibilityState == "visible":
            callback()

    js_hear = create_proxy(hear)
    heard = [(js, "online")] if hasattr(js, "addEventListener") else []  # Node has none
    if document is not None:
        heard.append((document, "visibilitychange"))
    for js_target, name in heard:
        js_target.addEventListener(name, js_hear)

    def end() -> None:
        for js_target, name in heard:
            js_target.removeEventListener(name, js_hear)
        js_hear.destroy()

    return end
