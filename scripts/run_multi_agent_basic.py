"""Train a market maker and a taker with a target in one book.

artifacts/multi_agent_basic/ holds a directory per run, and rewards.csv, rewards.png and the policies of the newest one.
"""

from pathlib import Path

from lobgraph.report.scenario import main

if __name__ == "__main__":
    main(__doc__, Path(__file__).parents[1] / "configs" / "multi_agent_basic.yaml")
