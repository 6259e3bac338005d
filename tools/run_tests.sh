#!/usr/bin/env bash
# All tests, or with `fast` those of daily work, which need no browser. In two rows side by side, since most of them wait
# more than they work: the table of lanes, and all else. What the second row prints is shown when both are over.
#
# Browsers fail at times for reasons of their own. So tests that failed are played once more, alone: what fails again fails
# the run, and what does not is named at the very end all the same, with its error. Look into each of these.
set -uo pipefail
cd "$(dirname "$0")/.."

reports=build/test-reports
rm -rf "$reports"
mkdir -p "$reports"

# Rows that are about as long as each other.
if [ "${1-}" = fast ]; then
    first=(tests/lanes)
    second=(--ignore=tests/lanes)
    chosen=(-m "not browser and not slow" --few-programs)
    before_second=checks
else
    first=(tests/lanes tests/unit)
    second=(--ignore=tests/lanes --ignore=tests/unit)
    chosen=() # which bash before 4.4 takes for unset
    before_second=playwright
fi

lanes() { play_pytest lanes "${first[@]}" --table=$reports/table.json "$@"; }
all_else() { play_pytest all-else "${second[@]}" "$@"; }
play_pytest() {
    local part=$1
    shift
    .venv/bin/python -m pytest -o cache_dir=$reports/"$part.cache" --junitxml=$reports/"$part$again.xml" ${chosen[@]+"${chosen[@]}"} "$@"
}
playwright() { PLAYWRIGHT_JUNIT_OUTPUT_FILE=$reports/playwright$again.xml npx playwright test --reporter=list,junit "$@"; }
checks() { make --no-print-directory check || return 2; }

# A command's status, 1 if tests failed; more if the run itself did, and then there is no telling what it left out.
status_of() { "$@" >&3 2>&1; echo $?; }

again=
second_row=$(mktemp)
trap 'rm -f "$second_row"' EXIT
{
    status_of $before_second >$reports/before.status
    status_of all_else >$reports/all-else.status
} 3>"$second_row" &
exec 3>&1
lanes_status=$(status_of lanes)
wait
cat "$second_row"
before_status=$(<$reports/before.status)
else_status=$(<$reports/all-else.status)

again=-again
if [ "$lanes_status" = 1 ]; then lanes_status=$(status_of lanes --last-failed --last-failed-no-failures=none); fi
if [ "$before_status" = 1 ]; then before_status=$(status_of playwright --last-failed); fi
if [ "$else_status" = 1 ]; then else_status=$(status_of all_else --last-failed --last-failed-no-failures=none); fi
.venv/bin/python -m tools.summarize_tests $reports/*.xml
[ "$lanes_status$before_status$else_status" = 000 ]
