"""RLlib's PPO with a policy for each role. Ray pins another gymnasium, so it has a virtual environment of its own:

python -m venv .venv-ray && .venv-ray/bin/pip install -e ".[ray]"
.venv-ray/bin/python scripts/examples/rllib_ppo.py --iterations 20
"""

import argparse

from ray.rllib.algorithms.ppo import PPOConfig

from lobgraph.adapters import RLlibMarket

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--iterations", type=int, default=20)
parser.add_argument("--batch", type=int, default=4000, help="environment steps in each")
args = parser.parse_args()

config = (
    PPOConfig()
    .environment(RLlibMarket, env_config={"cfg": "multi_agent_basic"})
    .env_runners(num_env_runners=0, rollout_fragment_length="auto")
    .multi_agent(
        policies={"maker", "taker"},
        policy_mapping_fn=lambda agent, *_, **__: agent.rpartition("_")[0],
    )
    .training(
        train_batch_size=args.batch, minibatch_size=min(500, args.batch), num_epochs=4, lr=5e-4, gamma=0.985
    )
)
algorithm = config.build_algo()
for iteration in range(args.iterations):
    found = algorithm.train()["env_runners"]
    print(
        f"iteration {iteration}: mean return of all agents {found.get('episode_return_mean', float('nan')):.0f}"
    )
algorithm.stop()
