"""Every agent of a market acts at random, through PettingZoo.

python scripts/examples/pettingzoo_random.py --episodes 3
"""

import argparse

import lobgraph

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--episodes", type=int, default=3)
args = parser.parse_args()

env = lobgraph.parallel_env("multi_asset_gnn", render_mode="ansi")
for episode in range(args.episodes):
    observations, infos = env.reset(seed=0 if episode == 0 else None)
    returns = dict.fromkeys(env.agents, 0.0)
    while env.agents:  # those whose episode goes on
        actions = {name: env.action_space(name).sample() for name in env.agents}
        observations, rewards, terminated, truncated, infos = env.step(actions)
        for name, reward in rewards.items():
            returns[name] += reward
    print(f"episode {episode}: " + ", ".join(f"{name} {total:.0f}" for name, total in returns.items()))
print(env.render())
env.close()
