"""Train makers and an arbitrageur over several correlated books with the graph encoder, with three seeds.

artifacts/multi_asset_gnn/ holds a directory per call, and rewards.csv, rewards.png and the policies of the newest one.
"""

from pathlib import Path

from lobgraph.report.scenario import main

if __name__ == "__main__":
    main(__doc__, Path(__file__).parents[1] / "configs" / "multi_asset_gnn.yaml", seeds=3)
