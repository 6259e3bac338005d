"""The command line: mailboxes in SQLite files, looked at and worked on; see docs/command-line.md."""

from importlib.util import find_spec

from ..contract.errors import NOT_IN_PAGES

if find_spec(f"{__name__}.main") is None:
    raise ImportError(f"{__name__} is not available here: {NOT_IN_PAGES}", name=__name__)

from .main import main

__all__ = ["main"]
