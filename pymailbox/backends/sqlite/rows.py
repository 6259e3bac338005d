"""Rows that cannot be read."""

from __future__ import annotations

from typing import Any


class UnreadableError(Exception):
    """A row is not a message, or belongs to none, because another program wrote it."""


class UnreadableMessageError(UnreadableError):
    def __init__(self, priority: int, number: int) -> None:
        super().__init__(f"message {number} of lane {priority} cannot be read")
        self.priority = priority
        self.number = number


class UnreadablePageError(UnreadableError):
    def __init__(self, priority: int, number: Any) -> None:
        super().__init__(f"page {number!r} of lane {priority} cannot be read")
        self.priority = priority
        self.number = number


class UnreadableLetterError(UnreadableError):
    def __init__(self, letter: Any) -> None:
        super().__init__(f"dead letter {letter!r} cannot be read")
        self.letter = letter


class MissingLettersError(UnreadableError):
    def __init__(self) -> None:
        super().__init__("the rows of dead letters are not those of the messages that are dead letters")
