"""On a GPU: the same learning as on the CPU, graphs that replay what they recorded, nothing that waits."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lobgraph.config import Config, load_config
from lobgraph.env.market_env import MarketEnv
from lobgraph.env.placement import missing
from lobgraph.rl.checkpoint import load_policies
from lobgraph.rl.graphs import WARM
from lobgraph.rl.train import train
from lobgraph.rl.trainer import Trainer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(missing() is not None, reason=f"no GPU to use: {missing()}"),
]


def market(*overrides: str) -> Config:
    base = (
        "market.books=2", "agents.maker.count=2", "agents.taker.count=1", "agents.taker.target=10", "env.num_envs=128",
        "env.episode_steps=40", "env.stagger=true", "flow.warmup=2", "ppo.rollout_steps=16", "ppo.total_steps=20480",
        "agents.maker.risk.max_drawdown=50", "graph.hidden=32", "run.progress=false", "run.tensorboard=false",
        "run.evaluate_every=5", "run.evaluate_episodes=16", "run.device=cuda",
    )  # fmt: skip
    return load_config(None, [*base, *overrides])


def learned(cfg: Config, updates: int) -> tuple[Trainer, list[dict[str, float]]]:
    trainer = Trainer(cfg, MarketEnv(cfg, device="cuda"))
    trainer.start()
    return trainer, [trainer.step() for _ in range(updates)]


@pytest.mark.parametrize(
    "overrides", [(), ("graph.memory=gru",), ("ppo.precision=bf16",), ("ppo.precision=tf32",)]
)
def test_graphs_do_what_they_recorded(overrides: tuple[str, ...]) -> None:
    """Beyond the warm calls everything is replayed; the numbers are those of plain calls but for the rounding of masks."""
    updates = WARM + 3
    recorded, told = learned(market(*overrides), updates)
    plain, want = learned(market("run.cuda_graphs=off", *overrides), updates)
    assert recorded.rollout._steps.graph is not None
    assert recorded.ppo.gradients.graph is not None
    assert recorded.ppo.step.graph is not None
    assert plain.rollout._steps.graph is None
    exact = not any("bf16" in text or "tf32" in text for text in overrides)
    for a, b in zip(told[:2], want[:2], strict=True):  # later ones amplify rounding
        for name in (n for n in a if n.startswith("losses/") and "error" not in n):
            assert a[name] == pytest.approx(b[name], rel=2e-2 if exact else 0.2, abs=1e-3), name
    for metrics in told:
        for role in ("maker", "taker"):
            assert metrics[f"losses/{role}/first_ratio_error"] < (1e-3 if exact else 0.1)
            assert np.isfinite(metrics[f"losses/{role}/policy"])
    a, b = recorded.policies.state_dict(), plain.policies.state_dict()
    assert float(a["node_norm.count"]) == float(b["node_norm.count"])
    draws = recorded.rollout.roles["maker"].actions
    assert float(draws.std()) > 0.05  # a replay goes on with new random numbers
    half = draws.shape[2] // 2
    assert not torch.equal(draws[:, :, :half], draws[:, :, half:])


def test_nothing_waits_while_it_plays_and_learns() -> None:
    trainer, _ = learned(market("run.cuda_graphs=off"), 2)
    trainer.ppo.row.zero_()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.inference_mode():
            trainer.rollout._play()
        trainer.ppo._gradients()
        trainer.ppo._step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_policy_of_the_gpu_acts_on_the_cpu(tmp_path: Path) -> None:
    cfg = market()
    run = train(cfg, directory=tmp_path / "run")
    assert run.policies.device.type == "cuda"
    assert run.history["losses/maker/policy"].notna().all()
    assert (run.rewards["episodes"] > 0).all()
    host, device = MarketEnv(cfg, 8, seed=3), MarketEnv(cfg, 8, seed=3, device="cuda")
    here, there = load_policies(run.directory, host), load_policies(run.directory, device)
    assert here.device.type == "cpu"
    want, got = (p.act(e.reset(), deterministic=True) for p, e in ((there, device), (here, host)))
    for role in want:
        torch.testing.assert_close(got[role], want[role].cpu(), rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_learning_curves_are_those_of_the_cpu(tmp_path: Path) -> None:
    """Three seeds each: the difference of the last rewards is within four times its standard error."""
    ends: dict[str, list[float]] = {}
    for device in ("cpu", "cuda"):
        for seed in range(3):
            cfg = load_config(
                Path(__file__).parents[2] / "configs" / "single_maker.yaml",
                [f"run.device={device}", f"run.seed={seed}", "ppo.total_steps=400_000", "run.progress=false",
                 "run.tensorboard=false", "run.evaluate_every=0"],
            )  # fmt: skip
            curve = train(cfg, directory=tmp_path / f"{device}{seed}").history["rewards/maker/mean"].dropna()
            tenth = max(1, len(curve) // 10)
            ends.setdefault(device, []).append(float(curve.iloc[-tenth:].mean()))
            assert curve.iloc[-tenth:].mean() > curve.iloc[:tenth].mean()
    here, there = np.array(ends["cpu"]), np.array(ends["cuda"])
    error = np.sqrt(here.var(ddof=1) / 3 + there.var(ddof=1) / 3)
    assert abs(here.mean() - there.mean()) < 4 * error + 0.02 * abs(here.mean())


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_train_together(tmp_path: Path) -> None:
    run = train(market("run.processes=2"), directory=tmp_path / "run")
    assert run.history["losses/maker/first_ratio_error"].max() < 1e-3
    assert run.rewards["episodes"].sum() > 0
