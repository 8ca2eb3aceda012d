"""Train a maker under rare random events, then put it and two strategies through a crash, a drought and a fat finger.

artifacts/stress_lab/ holds a directory per run, and rewards.csv, rewards.png and maker_policy of the newest one;
artifacts/stress_lab/stress/ the reports of the laboratory. The same with other actors: lobgraph stress --help.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

from lobgraph.report.console import clear_errors
from lobgraph.report.scenario import main

CONFIG = Path(__file__).parents[1] / "configs" / "stress_lab.yaml"
STRATEGIES = ("at_best", "fixed_spread:half_spread=2")
SCENARIOS = ("crash", "drought", "fat_finger")


def laboratory(home: Path, episodes: int) -> None:
    """Play the newest run's maker beside the strategies; the events at set times in place of the random ones."""
    from lobgraph.config import load_config
    from lobgraph.evaluation.stress import stress
    from lobgraph.report.directory import find_run
    from lobgraph.report.stress_report import present_stress

    run = find_run(home)
    cfg = load_config(run / "config.yaml", ["stress=[]"])
    actors = {"trained maker": run, **{text: text for text in STRATEGIES}}
    found = stress(cfg, "maker", actors, scenarios=SCENARIOS, episodes=episodes)
    again = shlex.join(["python", *sys.argv])
    present_stress(found, home / "stress", [f"trained maker: {os.path.relpath(run)}"], again)


if __name__ == "__main__":
    main(__doc__, CONFIG)
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--out", type=Path, default=Path("artifacts") / "stress_lab")
    parser.add_argument("--quick", action="store_true")
    given, _ = parser.parse_known_args()
    with clear_errors():
        laboratory(given.out, 8 if given.quick else 500)
