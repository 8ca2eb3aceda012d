"""Stable-Baselines3's SAC learns to make a market from a replay buffer.

python scripts/examples/sb3_sac.py --steps 40000 --out artifacts/sb3_sac
"""

import argparse
from pathlib import Path

from stable_baselines3 import SAC
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import VecNormalize

from lobgraph import evaluate, load_config
from lobgraph.adapters.registry import scenarios
from lobgraph.adapters.sb3 import Sb3VecEnv, as_actor, predictor

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--steps", type=int, default=40_000, help="environment steps")
parser.add_argument("--envs", type=int, default=32, help="environments side by side")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--episodes", type=int, default=1000, help="unseen episodes that are played in the end")
parser.add_argument("--out", type=Path, default=Path("artifacts/sb3_sac"), help="model and log go here")
args = parser.parse_args()

# Two or three fills a side at most: with the 200 lots of the scenario, what inventory earns hides what an action did.
cfg = load_config(scenarios()["single_maker"], ["agents.maker.risk.max_inventory=30"])
venv = VecNormalize(Sb3VecEnv(cfg, num_envs=args.envs, seed=args.seed), gamma=0.95)
model = SAC(
    "MlpPolicy", venv, learning_rate=1e-3, buffer_size=200_000, learning_starts=20 * args.envs, batch_size=256,
    gamma=0.95, train_freq=1, gradient_steps=4, policy_kwargs={"net_arch": [64, 64]}, seed=args.seed, device="cpu",
)  # fmt: skip
model.set_logger(configure(str(args.out), ["csv"]))
model.learn(args.steps, log_interval=8)
model.save(args.out / "model.zip")
venv.save(str(args.out / "normalise.pkl"))
learned = as_actor(predictor(model, venv), cfg, "maker")
for name, maker in {"SAC": learned, "fixed_spread": "fixed_spread", "glft": "glft"}.items():
    table = evaluate(cfg, {"maker": maker}, episodes=args.episodes)
    print(f"{name}: objective {table['objective'].mean():.0f} tick-lots an episode")
