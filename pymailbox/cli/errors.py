"""How the command line ends."""

from __future__ import annotations

from typing import Final

OK: Final = 0
PROBLEM: Final = 1
"""Something of what was asked for was not done; the standard error says what."""
USAGE: Final = 2
"""The command is not valid as written; nothing was done."""
SIGNALLED: Final = 128
"""And the signal's number: what a shell reports for a death by one."""
INTERRUPTED: Final = 130
PIPE_CLOSED: Final = 141
"""The reader of the output has gone away: what a shell reports for a death by SIGPIPE."""


class ProblemError(Exception):
    """What was asked for cannot be done; its text is for the user."""


class UsageError(Exception):
    """The command is not valid; its text is for the user."""
