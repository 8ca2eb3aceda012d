"""Train a maker over books of which every second leads and the others follow, with the graph encoder.

artifacts/lead_lag/ holds a directory per run, and rewards.csv, rewards.png and maker_policy of the newest one. What the
graph buys: lobgraph ablate configs/lead_lag.yaml; on other sizes: lobgraph transfer configs/lead_lag.yaml.
"""

from pathlib import Path

from lobgraph.report.scenario import main

if __name__ == "__main__":
    main(__doc__, Path(__file__).parents[1] / "configs" / "lead_lag.yaml")
