"""What changes during training, and one update of it: rollout, advantages, PPO; and what the episodes that ended brought."""

from __future__ import annotations

import math
from collections.abc import Mapping
from time import perf_counter
from typing import Any

import torch

from ..config import Config, ConfigError, check_minibatches
from ..env.episodes import Episodes
from ..models.normalise import RunningMoments
from ..models.policy import PolicySet, make_policies
from .actors import Actor, held_actors
from .graphs import use_graphs
from .group import ALONE, Group, read
from .held import hold
from .ppo import PPO
from .rollout import Rollout, TrainingError, VectorEnv, aims_of
from .schedules import between, share


class Trainer:
    """Everything that changes during training. One `step` is one update; `train` wraps it with files and a display.

    env: of all roles. held: who acts for the roles that do not learn, by role; None: as `cfg` says. group: who trains the same
    policies with other environments; `step` then is one update of all together.
    """

    def __init__(
        self, cfg: Config, env: VectorEnv, held: Mapping[str, Actor] | None = None, group: Group = ALONE
    ) -> None:
        self.cfg = cfg
        self.market = env
        self.env = env = hold(
            env, held_actors(cfg, env.specs) if held is None else held
        )  # of those that learn
        try:
            check_minibatches(cfg, env.num_envs)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        if cfg.curriculum and not hasattr(self.market, "set_regimes"):
            raise ConfigError(
                f"curriculum: {type(self.market).__name__} has no regimes to choose (no method set_regimes)"
            )
        self.group = group
        self.policies: PolicySet = make_policies(env, cfg)
        self.policies.autocast = cfg.ppo.precision == "bf16"
        self.moments = [m for m in self.policies.modules() if isinstance(m, RunningMoments)]
        for moments in self.moments:
            moments.reduce = None if group.alone else group.sum
        device = self.policies.device
        if device.type == "cuda":
            torch.cuda.set_device(device)  # for streams and events
        self.sampling = torch.Generator(device).manual_seed(2 * cfg.run.seed)  # actions
        self.shuffling = torch.Generator(device).manual_seed(2 * cfg.run.seed + 1)  # minibatches
        recur = torch.compile(self.policies.recur, dynamic=False) if cfg.ppo.compile else self.policies.recur
        graphs = use_graphs(cfg.run.cuda_graphs, device)
        self.ppo = PPO(self.policies, cfg.ppo, self.shuffling, group, recur, graphs)
        self.rollout = Rollout(
            env, self.policies, cfg.ppo, aims_of(cfg, env.specs), self.sampling, group, recur,
            graphs and getattr(env, "capturable", False),
        )  # fmt: skip
        self.samples = cfg.ppo.rollout_steps * env.num_envs * group.size  # env steps per update
        self.updates = math.ceil(cfg.ppo.total_steps / self.samples)
        self.ended: Episodes | None = None  # episodes, in the last update
        self.paid, self.taking_part = {}, {}  # by role, of the last rollout, see Rollout
        self.audits = hasattr(env, "imbalance")  # whether the accounts are checked after each update
        self.update = 0  # done so far
        self.env_steps = 0

    def start(self) -> None:
        """Reset the environment; call once before the first step."""
        self._enter_stage(0)
        self.rollout.warm_up()

    def step(self) -> dict[str, float]:
        """One rollout and one update. Returns the update's metrics; raises TrainingError naming it."""
        self.update += 1
        try:
            return self._step()
        except (TrainingError, FloatingPointError) as error:
            raise TrainingError(f"update {self.update}: {error}") from error

    def _step(self) -> dict[str, float]:
        start = perf_counter()
        self._enter_stage(self.stage)
        self.rollout.collect()
        phases = self.rollout.phases
        self.rollout.advantages()
        phases.end("gae")
        losses = self.ppo.update(self.rollout, self.lr, self.ent_coef, self.std_bound)
        if any(read({"bad": torch.stack([m.bad.any() for m in self.moments])})["bad"]):
            for moments in self.moments:
                moments.check()
        if self.cfg.ppo.norm_obs:
            self.policies.commit()  # only now, so that the update saw what the rollout saw
        phases.end("update")
        self._learn_what_ended()
        self._check_accounts()
        seconds = phases.read()
        end = perf_counter()
        self.env_steps += self.samples
        metrics: dict[str, float] = {"update": self.update, "env_steps": self.env_steps}
        metrics["time/sps"] = self.samples / (end - start)
        metrics |= {f"time/{name}": x for name, x in seconds.items()}
        if self.cfg.curriculum:
            metrics["charts/stage"] = self.stage
        return metrics | losses | self._reward_metrics()

    @property
    def progress(self) -> float:
        """Share of the updates done before the current one."""
        return (self.update - 1) / self.updates

    @property
    def lr(self) -> float:
        ppo = self.cfg.ppo
        return ppo.lr * share(ppo.lr_schedule, self.update, self.updates, ppo.lr_end, ppo.lr_warmup)

    @property
    def ent_coef(self) -> float:
        ppo = self.cfg.ppo
        return ppo.ent_coef * share(ppo.ent_schedule, self.update, self.updates, ppo.ent_decay)

    @property
    def std_bound(self) -> float | None:
        """Of the policies that the current update makes: `ppo.std_end` after the last one."""
        ppo = self.cfg.ppo
        return ppo.std_end and between(ppo.initial_std, ppo.std_end, self.update / self.updates)

    @property
    def stage(self) -> int:
        """Of the curriculum: the first that has not ended; len(cfg.curriculum) after all, regimes as configured."""
        stages = self.cfg.curriculum
        return next((i for i, s in enumerate(stages) if self.progress < s.until), len(stages))

    def _enter_stage(self, stage: int) -> None:
        """Draw regimes as the stage says, of episodes that start from now on; they switch as it says at once."""
        stages = self.cfg.curriculum
        if not stages:
            return
        law = (stages[stage].initial, stages[stage].switch) if stage < len(stages) else ()
        self.market.set_regimes(*law)  # type: ignore[attr-defined]  # checked when made

    # --- what the episodes that ended in this update brought ---

    def _learn_what_ended(self) -> None:
        """Ask the environment once; in process 0 of a group all of its environments count."""
        tally = getattr(self.market, "episodes", None)
        own = Episodes.of(self.rollout.episodes) if tally is None else tally()
        parts = self.group.collect((own, self.rollout.paid, self.rollout.taking_part))
        ended = [part for part, _, _ in parts if part is not None]
        self.ended = Episodes.merge(ended) if len(ended) > 1 else next(iter(ended), None)
        self.paid = {role: sum(paid[role] for _, paid, _ in parts) for role in self.rollout.roles}
        self.taking_part = {role: sum(count[role] for _, _, count in parts) for role in self.rollout.roles}

    def _check_accounts(self) -> None:
        """Raise TrainingError if the market has made or lost cash or lots: what one account pays another gets."""
        if self.audits and (wrong := self.market.imbalance()) is not None:  # type: ignore[attr-defined]
            raise TrainingError(wrong)

    def _reward_metrics(self) -> dict[str, float]:
        """rewards/<role>/mean, terms/<role>/<term> and inventory/<role>/max over episodes, NaN where none ended.

        Of roles that learn also rewards/<role>/step, over all steps of the rollout.
        """
        metrics: dict[str, float] = {}
        for role, spec in self.market.specs.items():
            e = self.ended
            metrics[f"rewards/{role}/mean"] = math.nan if e is None else float(e.mean[role].mean())
            if role in self.rollout.roles:
                counted = self.taking_part[role]
                metrics[f"rewards/{role}/step"] = self.paid[role] / counted if counted else math.nan
            for i, name in enumerate(spec.reward_terms):
                metrics[f"terms/{role}/{name}"] = math.nan if e is None else float(e.terms[role][:, i].mean())
            metrics[f"inventory/{role}/max"] = math.nan if e is None else float(e.max_inventory[role].max())
        return metrics

    def reward_rows(self, seconds: float) -> list[dict[str, Any]]:
        """Rows of rewards.csv for the episodes that ended in the last update: one per role and agent, or none."""
        e = self.ended
        if e is None:
            return []
        rows = []
        for role, spec in self.market.specs.items():
            who = getattr(self.cfg.agents, role).actor
            rows.extend({
                "update": self.update, "env_steps": self.env_steps, "seconds": round(seconds, 3),
                "role": role, "agent": k, "episodes": e.count, "reward_mean": e.mean[role][k],
                "reward_std": e.std[role][k], "reward_min": e.least[role][k], "reward_max": e.most[role][k],
                "inventory_max": e.max_inventory[role][k], "length_mean": e.length, "actor": who,
            } for k in range(spec.count))  # fmt: skip
        return rows
