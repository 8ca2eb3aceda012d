"""An SB3 model as a strategy, so that the command line can hold it in a role (the model and log of sb3_ppo.py):

lobgraph compare scripts/examples/sb3_strategy.py:Sb3Maker:path=artifacts/sb3_ppo fixed_spread glft --config configs/single_maker.yaml
"""

import pickle
from dataclasses import dataclass
from pathlib import Path

from stable_baselines3 import PPO

from lobgraph.adapters import ModelStrategy
from lobgraph.adapters.sb3 import predictor


@dataclass
class Sb3Maker(ModelStrategy):
    """Quotes as a PPO of Stable-Baselines3 learned to."""

    role = "maker"
    path: str = "artifacts/sb3_ppo"

    def load(self, view):
        normalise = pickle.loads((Path(self.path) / "normalise.pkl").read_bytes())
        return predictor(PPO.load(Path(self.path) / "model.zip", device="cpu"), normalise)
