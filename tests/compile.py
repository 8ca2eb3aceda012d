"""Compile the kernels that most tests use, once: python tests/compile.py"""

from lobgraph.config import load_config
from lobgraph.env.market_env import MarketEnv
from lobgraph.rl.actors import idle

env = MarketEnv(load_config(None, ["agents.maker.count=1", "agents.taker.count=1"]), num_envs=2)
env.reset()
env.step({role: idle(env, role) for role in env.specs})
