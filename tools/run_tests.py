"""Runs all tests, or with `fast` those of daily work, which need no browser: python -m tools.run_tests [fast]

In jobs, of which a few run at once, since many of them wait for a part of their time. Those that take longest begin
first, so that all cores have work until the end; those that hardly do anything but wait have a place of their own
beside these. What a job prints is shown when it is over, with how long it took and how much work that was.

Browsers fail at times for reasons of their own. So tests that failed are played once more, alone: what fails again
fails the run, and what does not is named at the very end all the same, with its error. Look into each of these.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from tools.serve import ROOT

REPORTS = ROOT / "build" / "test-reports"

SOME_FAILED = 1
"""The status of a job in which tests failed. With a greater one there is no telling what it left out."""

_COMPILED = ROOT / "build" / "pycache"
"""Compiled Python, which most of the programs that tests start would otherwise compile again."""

_REPORT = "{report}"
"""Stands in a command for the path of its report."""

_FAST = ("-m", "not browser and not slow", "--few-programs")
_LANES = "tests/lanes"
_IN_CHROMIUM = f"{_LANES}/test_chromium.py"
_IN_OTHERS = f"{_LANES}/test_firefox_and_webkit.py"
TABLE = f"{_LANES}/test_table.py"
_TABLE_OPTION = f"--table={REPORTS / 'table'}"
_SCENARIOS = "tests/indexeddb/test_scenarios.py"


@dataclass(frozen=True)
class Job:
    """A command that runs tests."""

    name: str
    command: Sequence[str]
    replay: Sequence[str] = ()
    """Options with which it plays what failed once more; none if it cannot."""
    waits: bool = False
    """Whether it mostly waits, so that a core has time for another one."""

    def run(self, again: str = "") -> int:
        """Run it, show what it printed, and return its status. ``again`` tells a replay from the first time."""
        title = self.name + again
        command = [*self.command, *(self.replay if again else ())]
        begin = time.monotonic()
        _write(f"=== {title} begins ===\n".encode())
        with tempfile.TemporaryFile() as printed:
            process = subprocess.Popen(
                [part.replace(_REPORT, str(REPORTS / f"{title}.xml")) for part in command],
                cwd=ROOT,
                env=_environment(),
                stdout=printed,
                stderr=subprocess.STDOUT,
            )
            status, work = _wait(process)
            printed.seek(0)
            took = f"{time.monotonic() - begin:.0f} s{work}"
            heading = f"\n=== {title}: status {status} after {took} ===\n"
            _write(heading.encode() + printed.read())
        return status


def _environment() -> dict[str, str]:
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(_COMPILED)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


def _forget_what_tests_wrote() -> None:
    """Modules in temporary folders, which nothing asks for again."""
    folder = Path(tempfile.gettempdir())
    shutil.rmtree(_COMPILED / folder.relative_to(folder.anchor), ignore_errors=True)


def _wait(process: "subprocess.Popen[bytes]") -> tuple[int, str]:
    """The status in which a process ends, and in words how long it and its children kept a core busy, where the system
    says so.
    """
    if not hasattr(os, "wait4"):
        return process.wait(), ""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, f", {usage.ru_utime + usage.ru_stime:.0f} s of CPU"


def _write(text: bytes) -> None:
    """In one piece, since jobs may end at the same time."""
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()


def _pytest(name: str, *options: str) -> Job:
    reports = [f"--junitxml={_REPORT}", "-o", f"cache_dir={REPORTS / name}.cache"]
    replay = ["--last-failed", "--last-failed-no-failures=none"]
    return Job(name, [sys.executable, "-m", "pytest", *reports, *options], replay)


def _split(file: str, words: Mapping[str, str], rest: str, *options: str) -> list[Job]:
    """The tests of a file or folder in several jobs: in each of `words` those that have its word in their names, and
    the others in `rest`.
    """
    without = " and ".join(f"not {word}" for word in words.values())
    chosen = {**words, rest: without}
    return [_pytest(name, file, "-k", expression, *options) for name, expression in chosen.items()]


def _split_files(folder: str, beginnings: Mapping[str, str], rest: str, *options: str) -> list[Job]:
    """The files of a folder in several jobs, by how their names begin, and in `rest` all others. Unlike above, each job
    collects only its own.
    """
    groups = {
        name: sorted(str(path.relative_to(ROOT)) for path in (ROOT / folder).glob(f"{word}*.py"))
        for name, word in beginnings.items()
    }
    others = _pytest(rest, folder, *_ignoring(*chain(*groups.values())), *options)
    return [others, *(_pytest(name, *files, *options) for name, files in groups.items())]


def _playwright(browser: str) -> Job:
    """The tests of a browser, one after the other: each loads Python, which keeps more than one core busy."""
    name = f"playwright-{browser}"
    command = ["env", f"PLAYWRIGHT_JUNIT_OUTPUT_FILE={_REPORT}", "npx", "playwright", "test", "--reporter=list,junit"]
    return Job(name, [*command, f"--output={REPORTS / name}", f"--project={browser} *"], ["--last-failed"])


def fast_jobs() -> list[Job]:
    """Those of daily work."""
    beginnings = {
        "unit-sqlite": "test_sqlite",
        "unit-cli": "test_cli",
        "unit-testing": "test_testing",
        "unit-sync": "test_sync",
        "unit-relay": "test_rel",
        "unit-recipes": "test_recipe",
    }
    return [
        _pytest("lanes", _LANES, *_FAST),
        *_split_files("tests/unit", beginnings, "unit", *_FAST),
        Job("lint", ["make", "--no-print-directory", "lint"]),
        _pytest("all-else", *_ignoring(_LANES, "tests/unit"), *_FAST),
    ]


def all_jobs() -> list[Job]:
    """Those that take longest first. A new file or folder is in one that names its folder, or else in the last."""
    scenarios = _split(
        _SCENARIOS, {"scenarios-chromium": "chromium", "scenarios-firefox": "firefox"}, "scenarios-webkit"
    )
    all_else = _pytest("all-else", *_ignoring(_LANES, _SCENARIOS, "tests/chaos", "tests/unit"))
    return [
        _playwright("chromium"),
        _playwright("firefox"),
        _pytest("chaos", "tests/chaos"),
        _pytest("lanes-elsewhere", _LANES, *_ignoring(_IN_CHROMIUM, _IN_OTHERS, TABLE), _TABLE_OPTION),
        *_split(_IN_OTHERS, {"lanes-firefox": "Firefox-"}, "lanes-webkit", _TABLE_OPTION),
        _pytest("unit", "tests/unit"),
        *_split(_IN_CHROMIUM, {"lanes-chromium-worker": "worker"}, "lanes-chromium-page", _TABLE_OPTION),
        *(replace(job, waits=True) for job in (*scenarios, all_else)),
    ]


def _ignoring(*paths: str) -> list[str]:
    return [f"--ignore={path}" for path in paths]


def play(jobs: Sequence[Job], at_once: int) -> dict[str, int]:
    """Run the jobs, so many at once and beside them one of those that mostly wait, and what failed in them once more,
    alone. The status of each, by its name.
    """
    working, waiting = ThreadPoolExecutor(at_once), ThreadPoolExecutor(1)
    try:
        running = {(waiting if job.waits else working).submit(job.run): job for job in jobs}
        statuses = {running[future].name: future.result() for future in as_completed(running)}
    finally:
        for executor in (working, waiting):
            executor.shutdown(wait=False, cancel_futures=True)
        for executor in (working, waiting):
            executor.shutdown()
    for job in jobs:
        if statuses[job.name] == SOME_FAILED and job.replay:
            statuses[job.name] = job.run("-again")
    return statuses


def main() -> None:
    """Play all, and say at the end what each job ran and what failed."""
    is_fast = sys.argv[1:] == ["fast"]
    shutil.rmtree(REPORTS, ignore_errors=True)
    REPORTS.mkdir(parents=True)
    jobs = fast_jobs() if is_fast else all_jobs()
    _forget_what_tests_wrote()
    # jobs without browsers wait more
    statuses = play(jobs, (os.cpu_count() or 1) + (4 if is_fast else 1))
    if not is_fast:
        # which is full only now
        statuses["table"] = _pytest("table", TABLE, _TABLE_OPTION).run()
    reports = {REPORTS / f"{job.name}.xml" for job in jobs if job.replay} | set(REPORTS.glob("*.xml"))
    subprocess.call([sys.executable, "-m", "tools.summarize_tests", *sorted(map(str, reports))], cwd=ROOT)
    sys.exit(any(statuses.values()))


if __name__ == "__main__":
    main()
