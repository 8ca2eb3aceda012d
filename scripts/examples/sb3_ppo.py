"""Stable-Baselines3's PPO learns to make a market, and is compared with a fixed spread on unseen episodes.

python scripts/examples/sb3_ppo.py --steps 1600000 --out artifacts/sb3_ppo
"""

import argparse
from pathlib import Path

from stable_baselines3 import PPO
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import VecNormalize

from lobgraph import evaluate
from lobgraph.adapters.registry import as_config
from lobgraph.adapters.sb3 import Sb3VecEnv, as_actor, predictor

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--steps", type=int, default=1_600_000, help="environment steps")
parser.add_argument("--envs", type=int, default=256, help="environments side by side")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--episodes", type=int, default=1000, help="unseen episodes that are played in the end")
parser.add_argument("--out", type=Path, default=Path("artifacts/sb3_ppo"), help="model and log go here")
args = parser.parse_args()

cfg = as_config("single_maker")
venv = VecNormalize(Sb3VecEnv(cfg, num_envs=args.envs, seed=args.seed), gamma=0.985)
model = PPO(
    "MlpPolicy", venv, n_steps=16, batch_size=4 * args.envs, n_epochs=4, learning_rate=lambda left: 1.5e-3 * left,
    gamma=0.985, gae_lambda=0.8, vf_coef=0.5, max_grad_norm=0.5, policy_kwargs={"log_std_init": -1.0},
    seed=args.seed, device="cpu",
)  # fmt: skip
model.set_logger(configure(str(args.out), ["csv"]))
model.learn(args.steps)
model.save(args.out / "model.zip")
venv.save(str(args.out / "normalise.pkl"))
learned = as_actor(predictor(model, venv), cfg, "maker")
for name, maker in {"PPO": learned, "fixed_spread": "fixed_spread", "glft": "glft"}.items():
    table = evaluate(cfg, {"maker": maker}, episodes=args.episodes)
    print(f"{name}: objective {table['objective'].mean():.0f} tick-lots an episode")
