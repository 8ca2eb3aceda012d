"""Train one market maker against noise flow.

artifacts/single_maker/ holds a directory per run, and rewards.csv, rewards.png and maker_policy of the newest one.
"""

from pathlib import Path

from lobgraph.report.scenario import main

if __name__ == "__main__":
    main(__doc__, Path(__file__).parents[1] / "configs" / "single_maker.yaml")
