"""Learning curves of the examples, from the progress.csv that each writes.

python scripts/examples/curves.py artifacts/sb3_ppo artifacts/sb3_sac artifacts/sb3_dqn --out curves.png
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("runs", type=Path, nargs="+", help="directories that hold a progress.csv")
parser.add_argument("--out", type=Path, default=Path("curves.png"))
args = parser.parse_args()

figure, axes = plt.subplots(
    1, len(args.runs), figsize=(3.4 * len(args.runs), 2.8), layout="constrained", squeeze=False
)
for ax, run in zip(axes[0], args.runs, strict=True):
    table = pd.read_csv(run / "progress.csv")
    if "rollout/ep_rew_mean" in table:  # of Stable-Baselines3
        table = table[["time/total_timesteps", "rollout/ep_rew_mean"]].dropna()
        table.columns = ["steps", "reward"]
    for name in table.columns.drop("steps"):
        smooth = table[name].rolling(max(1, len(table) // 30), min_periods=1).mean()
        ax.plot(table["steps"] / 1e3, smooth, label=name)
    ax.axhline(0.0, color="0.7", lw=0.8)
    ax.set(title=run.name, xlabel="thousand environment steps", ylabel="tick-lots an episode")
    if len(table.columns) > 2:
        ax.legend(frameon=False)
figure.savefig(args.out, dpi=110)
print(f"written: {args.out}")
