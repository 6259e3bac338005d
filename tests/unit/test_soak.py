"""``make soak``: programs for a given time, and the one program of a seed."""

from __future__ import annotations

import sys

import pytest

from pymailbox.testing import ProgramFailure
from tools import soak


def _soak(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["soak", *arguments])
    soak.main()


@pytest.mark.parametrize("backend", ["memory", "sqlite", "jetstream"])
def test_one_program_of_a_seed(
    backend: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _soak(monkeypatch, "--backend", backend, "--seed", "5")
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"{backend} in CPython: 1 programs passed")


def test_failure_names_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(factory: object, seed: int) -> None:
        raise ProgramFailure(seed, 3, "on purpose", ["a line"])

    monkeypatch.setattr(soak, "run_program", fail)
    with pytest.raises(SystemExit, match=r"seed 7, step 3: on purpose\n  a line\n.*repeat"):
        _soak(monkeypatch, "--seed", "7")
