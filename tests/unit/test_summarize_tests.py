"""What a run of all tests says at its end."""

import subprocess
import sys
from pathlib import Path

from tools.serve import ROOT

REPORT = """<testsuites><testsuite>
<testcase classname="tests.a" name="passes"/>
<testcase classname="tests.a" name="fails"><failure message="&#10;assert 1 == 2&#10;more">long</failure></testcase>
<testcase classname="tests.a" name="cannot start"><error>no browser here</error></testcase>
<testcase classname="tests.a" name="skipped"><skipped/></testcase>
<testcase classname="b.spec.js" name="differs"><failure message="b.spec.js:5:1 differs">
  Error: expect(locator).toHaveText(expected) failed
  Expected: "2"
  Received: "1"
      at somewhere/tests/b.spec.js:12:3</failure></testcase>
</testsuite></testsuites>"""


def test_each_failure_takes_one_line(tmp_path: Path) -> None:
    """Failures and errors with their cause and place; a part without a report is named."""
    report = tmp_path / "unit.xml"
    report.write_text(REPORT)
    command = [sys.executable, "-m", "tools.summarize_tests", str(report), str(tmp_path / "lanes.xml")]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == [
        "unit: 5 tests, 3 failed",
        "  FAILED tests.a fails: assert 1 == 2",
        "  FAILED tests.a cannot start: no browser here",
        "  FAILED b.spec.js differs: b.spec.js:5:1 differs; Error: expect(locator).toHaveText(expected) failed; "
        'Expected: "2"; Received: "1"; tests/b.spec.js:12',
        "lanes: left no report, so it ended before its tests did",
    ]
