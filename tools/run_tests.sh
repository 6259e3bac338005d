#!/usr/bin/env bash
# All tests, or with `fast` those of daily work, which need no browser. In rows side by side, since many of them wait more
# than they work: the table of lanes; the unit tests, which wait most; and all else, a row that in daily work the unit
# tests are in. What the later rows print is shown when all are over.
#
# Browsers fail at times for reasons of their own. So tests that failed are played once more, alone: what fails again fails
# the run, and what does not is named at the very end all the same, with its error. Look into each of these.
set -uo pipefail
cd "$(dirname "$0")/.."

reports=build/test-reports
rm -rf "$reports"
mkdir -p "$reports"

# Rows that are about as long as each other. A folder of tests is in one of them, or else in the last.
if [ "${1-}" = fast ]; then
    apart=()
    chosen=(-m "not browser and not slow" --few-programs)
    before_rest=checks
else
    apart=(tests/unit)
    chosen=() # which bash before 4.4 takes for unset
    before_rest=playwright
fi

lanes() { play_pytest lanes tests/lanes --table=$reports/table.json "$@"; }
unit() { [ ${#apart[@]} = 0 ] || play_pytest unit "${apart[@]}" "$@"; }
all_else() { play_pytest all-else --ignore=tests/lanes ${apart[@]+"${apart[@]/#/--ignore=}"} "$@"; }
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
later_rows=$(mktemp -d)
trap 'rm -rf "$later_rows"' EXIT
status_of unit >$reports/unit.status 3>"$later_rows/unit" &
{
    status_of $before_rest >$reports/before.status
    status_of all_else >$reports/all-else.status
} 3>"$later_rows/rest" &
exec 3>&1
lanes_status=$(status_of lanes)
wait
cat "$later_rows/unit" "$later_rows/rest"
unit_status=$(<$reports/unit.status)
before_status=$(<$reports/before.status)
else_status=$(<$reports/all-else.status)

again=-again
replay=(--last-failed --last-failed-no-failures=none)
if [ "$lanes_status" = 1 ]; then lanes_status=$(status_of lanes "${replay[@]}"); fi
if [ "$unit_status" = 1 ]; then unit_status=$(status_of unit "${replay[@]}"); fi
if [ "$before_status" = 1 ]; then before_status=$(status_of playwright --last-failed); fi
if [ "$else_status" = 1 ]; then else_status=$(status_of all_else "${replay[@]}"); fi
.venv/bin/python -m tools.summarize_tests $reports/*.xml
[ "$lanes_status$unit_status$before_status$else_status" = 0000 ]
