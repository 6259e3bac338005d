"""Whether a task that resumes after a verb can be suspended (by ``run_sync``), which makes each IndexedDB verb slower.

The program's use of ``pyodide.ffi.run_sync`` shows it: a program that will call it has usually imported it already.
"""

from __future__ import annotations

import gc
import importlib
import sys
from typing import Any, Final

from ..contract.location import IN_PYODIDE

ffi: Any = importlib.import_module("pyodide.ffi") if IN_PYODIDE else None

_PYODIDES_OWN: Final = ("_pyodide", "_pyodide_core", "micropip", "pyodide")
"""The packages that refer to it in every program."""

_wanted: bool | None = None
"""What the program has said."""

_seen_in_use = False
_references = 0
"""References to the function when they were last counted."""


def set_suspendable(suspendable: bool | None) -> None:
    """Sets whether a task can be suspended when it resumes after an awaited verb of an IndexedDB mailbox.

    Pyodide's ``run_sync``, ``time.sleep`` and ``asyncio.run`` need that, and it makes each verb take longer. With None,
    the default, it depends on whether the program has imported ``run_sync``, from pymailbox or Pyodide, or has been
    seen waiting with it; True is for a program for which that is too late, False for one that has ``run_sync`` but
    never waits with it right after a verb. It applies to all mailboxes of the program, from the next completed verb on.
    Outside Pyodide, and in browsers that cannot suspend Python, it changes nothing.

    Raises:
        TypeError: it is not True, False or None.
    """
    global _wanted
    if suspendable is not None and not isinstance(suspendable, bool):
        raise TypeError(f"suspendable must be True, False or None, not {suspendable!r}")
    _wanted = suspendable


def suspension_is_wanted() -> bool:
    """Whether a task that resumes now must be suspendable."""
    global _seen_in_use
    if _wanted is not None:
        return _wanted
    if not _seen_in_use and IN_PYODIDE and sys.getrefcount(ffi.run_sync) != _references:
        _seen_in_use = _is_in_use()
    return _seen_in_use


def _is_in_use() -> bool:
    """Whether the program has a reference to ``run_sync``: in a module, anywhere else, or because it waits with it."""
    global _references
    _references = sys.getrefcount(ffi.run_sync)
    of_pyodide = sum(
        value is ffi.run_sync
        for holder in gc.get_referrers(ffi.run_sync)
        if isinstance(holder, dict) and str(holder.get("__name__")).partition(".")[0] in _PYODIDES_OWN
        for value in holder.values()
    )
    return _references > of_pyodide + 1  # one of them is the argument
