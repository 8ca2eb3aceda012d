"""MAPPO in TorchRL: a policy and a centralised critic for each group, the makers and the arbitrageur of four books.

python scripts/examples/torchrl_mappo.py --steps 300000 --out artifacts/torchrl_mappo
"""

import argparse
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from tensordict import TensorDict
from tensordict.nn import NormalParamExtractor, TensorDictModule, TensorDictSequential
from torchrl.envs import ExplorationType, ObservationNorm, TransformedEnv, set_exploration_type
from torchrl.modules import MultiAgentMLP, ProbabilisticActor, TanhNormal
from torchrl.objectives import ClipPPOLoss

from lobgraph import evaluate, load_config
from lobgraph.adapters import TorchRLMarket, as_actor
from lobgraph.adapters.registry import scenarios

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--steps", type=int, default=300_000, help="environment steps")
parser.add_argument("--envs", type=int, default=64, help="environments side by side")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--episodes", type=int, default=1000, help="unseen episodes that are played in the end")
parser.add_argument("--out", type=Path, default=Path("artifacts/torchrl_mappo"), help="for progress.csv")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)
torch.manual_seed(args.seed)
T, EPOCHS, MINIBATCHES, SCALE = 32, 4, 4, 0.02  # steps of a rollout; SCALE: of rewards
# Two or three fills a side: with the scenario's 200 lots, what inventory earns hides what an action did.
cfg = load_config(scenarios()["multi_asset_gnn"], ["agents.maker.risk.max_inventory=30"])
market = TorchRLMarket(cfg, num_envs=args.envs, seed=args.seed, stagger=True)
env = TransformedEnv(market)
for group in market.group_map:  # learners want features of order one
    norm = ObservationNorm(in_keys=[(group, "observation")], standard_normal=True)
    env.append_transform(norm)
    norm.init_stats(T, reduce_dim=(0, 1, 2), cat_dim=1)
    norm.scale.clamp_(min=0.1)
norms, actors, losses, optimisers = dict(zip(market.group_map, env.transform, strict=True)), {}, {}, {}
for group, names in market.group_map.items():
    width = env.full_action_spec_unbatched[group, "action"].shape[-1]
    net = partial(MultiAgentMLP, market.encoder.size, n_agents=len(names), share_params=True, depth=2, num_cells=64)  # fmt: skip
    seen, law = [(group, "observation")], [(group, "loc"), (group, "scale")]
    split = NormalParamExtractor(scale_mapping="biased_softplus_0.35")
    policy = TensorDictModule(torch.nn.Sequential(net(2 * width, centralised=False), split), seen, law)
    actors[group] = ProbabilisticActor(
        policy, in_keys=law, out_keys=[(group, "action")], distribution_class=TanhNormal, return_log_prob=True,
        log_prob_key=(group, "log_prob"),
    )  # fmt: skip
    critic = TensorDictModule(net(1, centralised=True), seen, [(group, "state_value")])
    losses[group] = loss = ClipPPOLoss(
        actors[group], critic, entropy_coeff=0.0, normalize_advantage=True, normalize_advantage_exclude_dims=(-1, -2)
    )  # fmt: skip
    keys = {k: (group, k) for k in ("reward", "action", "done", "terminated", "advantage", "value_target")}
    loss.set_keys(**keys, value=(group, "state_value"), sample_log_prob=(group, "log_prob"))
    loss.make_value_estimator(gamma=0.97, lmbda=0.8)
    optimisers[group] = torch.optim.Adam(loss.parameters(), 1e-3)
rows, last, updates = [], env.reset(), args.steps // (T * args.envs)
act = TensorDictSequential(*actors.values())
for update in range(updates):
    with torch.no_grad(), set_exploration_type(ExplorationType.RANDOM):
        batch = env.rollout(T, act, tensordict=last, auto_reset=False, break_when_any_done=False)
        last = env.maybe_reset(env.step_mdp(batch[:, -1]))
    row = {"steps": (update + 1) * T * args.envs}
    for group, loss in losses.items():
        row[group] = float(batch["next", group, "reward"].mean()) * market.cfg.env.episode_steps
        batch["next", group, "reward"] *= SCALE
        with torch.no_grad():
            nets = (loss.critic_network_params, loss.target_critic_network_params)
            loss.value_estimator(batch, params=nets[0], target_params=nets[1])
        for _ in range(EPOCHS):
            for part in batch.reshape(-1)[torch.randperm(batch.numel())].chunk(MINIBATCHES):
                terms = loss(part)
                optimisers[group].zero_grad()
                (terms["loss_objective"] + terms["loss_critic"]).backward()
                torch.nn.utils.clip_grad_norm_(loss.parameters(), 1.0)
                optimisers[group].step()
        optimisers[group].param_groups[0]["lr"] = 1e-3 * (1 - update / updates)
    rows.append(row)
    pd.DataFrame(rows).to_csv(args.out / "progress.csv", index=False)
tenth = max(1, len(rows) // 10)
for group in losses:
    first, end = (pd.DataFrame(part)[group].mean() for part in (rows[:tenth], rows[-tenth:]))
    print(f"{group}: {first:.0f} tick-lots an episode in the first tenth, {end:.0f} in the last")


def mean_action(obs, group):  # obs (envs * agents, size)
    seen = torch.from_numpy(obs).view(-1, len(market.group_map[group]), obs.shape[-1])
    seen = norms[group](TensorDict({group: {"observation": seen}}, [len(seen)]))
    with torch.no_grad(), set_exploration_type(ExplorationType.DETERMINISTIC):
        return actors[group](seen)[group, "action"].flatten(0, 1).numpy()


learned = {group: as_actor(partial(mean_action, group=group), cfg, group) for group in actors}
for name, maker in {"MAPPO": learned["maker"], "fixed_spread": "fixed_spread", "glft": "glft"}.items():
    table = evaluate(cfg, {"maker": maker, "arbitrageur": learned["arbitrageur"]}, args.episodes)
    means = table.groupby("role")["objective"].mean()
    print(f"makers {name}: objective {means['maker']:.0f} tick-lots, arbitrageur {means['arbitrageur']:.0f}")
