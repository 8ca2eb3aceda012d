"""Your own learning loop over a batch of markets, through Gymnasium: a linear policy that climbs by trying (the cross-entropy method).

python scripts/examples/gymnasium_loop.py --rounds 15
"""

import argparse

import gymnasium
import numpy as np

import lobgraph  # noqa: F401  (registers the ids)

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--rounds", type=int, default=15)
parser.add_argument(
    "--envs", type=int, default=256, help="policies tried in each round, one in each environment"
)
args = parser.parse_args()

envs = gymnasium.make_vec("lobgraph/SingleMaker-v0", num_envs=args.envs)
inventory = 14  # of the features, see lobgraph.adapters.encode.flat_names
rng = np.random.default_rng(0)
mean, std = np.zeros(5), np.full(5, 0.7)
for round_ in range(args.rounds):
    tried = mean + std * rng.standard_normal(
        (args.envs, 5)
    )  # offsets, size, and how offsets answer to inventory
    observations, _ = envs.reset(seed=round_)
    returns, over = np.zeros(args.envs), False
    while not over:
        held = observations[:, inventory]
        bid, ask = tried[:, 0] + tried[:, 3] * held, tried[:, 1] + tried[:, 4] * held
        actions = np.stack([bid, ask, tried[:, 2]], -1).clip(-1, 1)
        observations, rewards, terminated, truncated, _ = envs.step(actions.astype(np.float32))
        returns += rewards
        over = (terminated | truncated).any()  # without stagger all end together
    best = tried[np.argsort(returns)[-args.envs // 5 :]]
    mean, std = best.mean(0), best.std(0) + 0.02
    print(
        f"round {round_}: mean {returns.mean():.0f}, best fifth {np.sort(returns)[-args.envs // 5 :].mean():.0f}"
    )
