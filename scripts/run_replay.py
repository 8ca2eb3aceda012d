"""Train on replayed LOBSTER files: one message file per asset, its orderbook file beside it (csv, gz or zip).

    python scripts/run_replay.py AAPL_..._message_1.csv AMZN_..._message_5.csv GOOG_..._message_10.csv

artifacts/replay/ holds a directory per run, and rewards.csv, rewards.png and maker_policy of the newest one.
"""

from pathlib import Path

from lobgraph.report.scenario import main

if __name__ == "__main__":
    main(__doc__, Path(__file__).parents[1] / "configs" / "replay.yaml", replay=True)
