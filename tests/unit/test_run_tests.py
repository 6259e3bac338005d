"""How a run of all tests is cut into jobs, and how these are played."""

import re
import sys
from pathlib import Path

import pytest

from tools import run_tests
from tools.run_tests import TABLE, Job, all_jobs, fast_jobs, play
from tools.serve import ROOT

CONFIGURED = ROOT / "playwright.config.js"


@pytest.fixture(autouse=True)
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Jobs of these tests report elsewhere than the run that they are a part of."""
    monkeypatch.setattr(run_tests, "REPORTS", tmp_path)
    return tmp_path


def _has(job: Job, file: str) -> bool:
    """Whether pytest finds the file; what `-k` chooses of it aside."""
    ignored = [part.removeprefix("--ignore=") for part in job.command if part.startswith("--ignore=")]
    roots = [part for part in job.command if part.startswith("tests")] or ["tests"]

    def is_in(paths: list[str]) -> bool:
        return any(Path(file).is_relative_to(path) for path in paths)

    return "pytest" in job.command and is_in(roots) and not is_in(ignored)


def _chosen(job: Job) -> str:
    return job.command[job.command.index("-k") + 1] if "-k" in job.command else ""


@pytest.mark.parametrize("jobs", [all_jobs(), fast_jobs()], ids=["all", "fast"])
def test_each_test_is_in_one_job(jobs: list[Job]) -> None:
    files = [str(path.relative_to(ROOT)) for path in ROOT.glob("tests/**/test_*.py")]
    assert len(files) > 100
    for file in files:
        *parts, last = [_chosen(job) for job in jobs if _has(job, file)] or ["none"]
        # a file that several jobs share is shared by words, and the last of them has what no word chooses
        assert last == " and ".join(f"not {word}" for word in parts) or (file == TABLE and last == "none"), file


def test_each_browser_of_playwright_has_a_job() -> None:
    assert '(["chromium", "firefox"]).flatMap(' in CONFIGURED.read_text("utf-8")
    commands = [" ".join(job.command) for job in all_jobs()]
    for browser in ("chromium", "firefox"):
        assert sum(f"--project={browser} *" in command for command in commands) == 1


def _script(name: str, code: str, *replay: str) -> Job:
    return Job(name, [sys.executable, "-c", code, "{report}"], replay)


def test_what_failed_is_played_again_alone_with_a_report_of_its_own(
    reports: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    leave = "import pathlib, sys; pathlib.Path(sys.argv[1]).touch(); print('ran', *sys.argv[2:])"
    jobs = [
        _script("passes", leave, "--failed"),
        _script("mends", f"{leave}; sys.exit('--failed' not in sys.argv)", "--failed"),
        _script("fails", f"{leave}; sys.exit(1)", "--failed"),
        _script("breaks", f"{leave}; sys.exit(2)", "--failed"),
        _script("checks", f"{leave}; sys.exit(1)"),
    ]
    assert play(jobs, 3) == {"passes": 0, "mends": 0, "fails": 1, "breaks": 2, "checks": 1}
    names = {"passes", "mends", "mends-again", "fails", "fails-again", "breaks", "checks"}
    assert {path.stem for path in reports.glob("*.xml")} == names
    printed = capfdbinary.readouterr().out.decode()
    assert printed.count("ran --failed\n") == 2
    assert printed.count("ran\n") == len(jobs)


def test_how_much_work_a_job_was_is_told(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    work = "import time\nwhile time.process_time() < 0.6: pass"
    in_a_child = f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', {work!r}]) + 3)"
    assert play([_script("works", in_a_child)], 1) == {"works": 3}
    printed = capfdbinary.readouterr().out.decode()
    assert re.search(r"^=== works: status 3 after \d+ s, [1-9]\d* s of CPU ===$", printed, re.MULTILINE), printed


def _meeting(folder: Path, name: str, several: int, *, waits: bool = False) -> Job:
    """A job that ends when so many have begun."""
    meet = f"""
import pathlib, time
here = pathlib.Path({str(folder)!r})
(here / {f"meets-{name}"!r}).touch()
while len(list(here.glob("meets-*"))) < {several}:
    time.sleep(0.01)
"""
    return Job(name, [sys.executable, "-c", meet], waits=waits)


def test_so_many_run_at_once(tmp_path: Path) -> None:
    """Three that wait for each other end; a fourth begins when one of them has."""
    jobs = [_meeting(tmp_path, str(i), 3) for i in range(4)]
    assert play(jobs, 3) == {job.name: 0 for job in jobs}


def test_one_that_waits_has_a_place_beside_them(tmp_path: Path) -> None:
    """Two and one of those end only together, though they are the last that were named."""
    jobs = [*(_meeting(tmp_path, str(i), 3) for i in range(2)), _meeting(tmp_path, "waits", 3, waits=True)]
    assert play(jobs, 2) == {job.name: 0 for job in jobs}


def test_of_those_that_wait_one_runs_at_a_time(tmp_path: Path) -> None:
    alone = f"""
import pathlib, time
place = pathlib.Path({str(tmp_path / "taken")!r})
place.touch(exist_ok=False)
time.sleep(0.2)
place.unlink()
"""
    jobs = [Job(f"waits-{i}", [sys.executable, "-c", alone], waits=True) for i in range(2)]
    assert play(jobs, 3) == {job.name: 0 for job in jobs}
