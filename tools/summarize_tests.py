"""Print, as the last lines of a run of all tests, what each part ran and what failed in it.

python -m tools.summarize_tests REPORT.xml… (JUnit's XML, as pytest and Playwright write it)
"""

import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

LINE_CHARACTERS = 600

PLACE = re.compile(r"\btests/[\w./-]+:\d+")
VALUES = ("Expected", "Received", "Error:")


def failures(report: ET.Element) -> Iterator[str]:
    """Each failed test, in one line short enough for a log that keeps only its end.

    It has the first line of the error, what Playwright expected and received, and where in the tests that was.
    """
    for test in report.iter("testcase"):
        for problem in (*test.findall("failure"), *test.findall("error")):
            text = f"{problem.get('message') or ''}\n{problem.text or ''}"
            lines = [line.strip() for line in text.split("\n") if line.strip()] or ["no message"]
            shown = [lines[0], *(line for line in lines[1:] if line.startswith(VALUES)), *PLACE.findall(text)]
            yield f"{test.get('classname')} {test.get('name')}: {'; '.join(dict.fromkeys(shown))}"[:LINE_CHARACTERS]


def main() -> None:
    """Print the summary; it does not decide whether the run passed."""
    for name in sys.argv[1:]:
        path = Path(name)
        if not path.exists():
            print(f"{path.stem}: left no report, so it ended before its tests did")
            continue
        report = ET.parse(path).getroot()
        failed = list(failures(report))
        print(f"{path.stem}: {sum(1 for _ in report.iter('testcase'))} tests, {len(failed)} failed")
        for line in failed:
            print(f"  FAILED {line}")


if __name__ == "__main__":
    main()
