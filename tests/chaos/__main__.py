"""Plays a number of rounds, with a line for each and a table at the end.

Usage: python -m tests.chaos [--backend indexeddb|sqlite|jetstream|jetstream-pages]
    [--kills 40] [--seed SEED] [--first 0] [--kind NAME]

A campaign is replayed with its seed, and one of its rounds with `--first NUMBER --kills 1` in addition. The exit code
is 1 if there were faults.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from collections.abc import Callable

from tests.chaos import summary
from tests.chaos.in_chromium import ChromiumStage, ServedChromiumStage
from tests.chaos.in_processes import SqliteStage
from tests.chaos.on_servers import ServerStage
from tests.chaos.plans import draw
from tests.chaos.rounds import Outcome, Stage, play

STAGES: dict[str, Callable[[], Stage]] = {
    "indexeddb": ChromiumStage,
    "sqlite": SqliteStage,
    "jetstream": ServerStage,
    "jetstream-pages": ServedChromiumStage,
}


def main() -> int:
    """Run a campaign."""
    parser = argparse.ArgumentParser(description="Kill whoever works on a mailbox, and look at what is left.")
    parser.add_argument("--backend", choices=STAGES, default="indexeddb")
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--first", type=int, default=0, help="the number of the first round")
    parser.add_argument("--kind", default="", help="only kinds with this in their name")
    arguments = parser.parse_args()
    print(f"{arguments.backend}, seed {arguments.seed}", flush=True)
    began = time.monotonic()
    outcomes: list[Outcome] = []
    with STAGES[arguments.backend]() as stage:
        kinds = [kind for kind in stage.kinds if arguments.kind in kind.name]
        for number in range(arguments.first, arguments.first + arguments.kills):
            outcome = play(stage, draw(arguments.seed, number, kinds))
            outcomes.append(outcome)
            print(outcome, flush=True)
    print()
    print(*summary.lines(outcomes), sep="\n")
    bad = [outcome.plan.number for outcome in outcomes if outcome.faults]
    print(f"{len(outcomes)} kills in {time.monotonic() - began:.0f} s, faults in {len(bad)} rounds")
    for number in bad:
        kind = f" KIND='{arguments.kind}'" if arguments.kind else ""
        print(f"  again: make chaos BACKEND={arguments.backend}{kind} SEED={arguments.seed} FIRST={number} KILLS=1")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
