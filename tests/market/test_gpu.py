"""On a real GPU, with agents acting over many resets: the CPU's integers to the bit in every way of running, floats to
rounding; nothing in a step waits for the device; a step can be captured by the caller. Run by `make gpu`."""

from __future__ import annotations

import cuda_runs
import numpy as np
import pytest
import torch
from test_cuda import check_equal

from lobgraph.bench.gpu import ways
from lobgraph.config import load_config
from lobgraph.env.market_env import MarketEnv
from lobgraph.env.placement import GpuOptions, missing, simulated

LACKING = "this process runs the CUDA simulator" if simulated() else missing()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(LACKING is not None, reason=str(LACKING))]
ENVS, STEPS, EVERY = 301, 240, 12  # not a multiple of a block


@pytest.fixture(scope="module")
def cpu_runs() -> dict[str, dict[str, np.ndarray]]:
    return {name: cuda_runs.run(make(ENVS), STEPS, EVERY) for name, make in cuda_runs.MARKETS.items()}


@pytest.mark.parametrize("market", cuda_runs.MARKETS)
@pytest.mark.parametrize("options", ways(quick=True), ids=lambda o: "-".join(map(str, o)))
def test_a_gpu_gives_the_integers_of_the_cpu(cpu_runs, market, options):
    env = cuda_runs.MARKETS[market](ENVS, device="cuda", gpu=options)
    there = cuda_runs.run(env, STEPS, EVERY)
    check_equal(cpu_runs[market], {f"{market}/{name}": x for name, x in there.items()}, market)
    assert there["clock"][-1, :, 0].min() >= 2, "no environment was reset"


def twins(envs: int = 2048, **where) -> tuple[MarketEnv, MarketEnv]:
    """The default market with a maker and a taker, on the CPU and on the GPU."""
    cfg = load_config(None, ["agents.taker.count=1", "env.episode_steps=50", "market.books=2"])
    return MarketEnv(cfg, envs, seed=5), MarketEnv(cfg, envs, seed=5, device="cuda", **where)


def actions_of(env: MarketEnv, rng: np.random.Generator) -> dict[str, torch.Tensor]:
    return {role: torch.from_numpy(x) for role, x in cuda_runs.random_actions(env, rng).items()}


def same_state(here: MarketEnv, there: MarketEnv) -> None:
    for name, want, got in zip(here.state._fields, here.host_state(), there.host_state(), strict=True):
        if want.dtype.kind != "f":
            np.testing.assert_array_equal(got, want, err_msg=name)
    for name in ("nodes", "edges", "vector"):
        torch.testing.assert_close(getattr(there, name).cpu(), getattr(here, name), rtol=1e-5, atol=1e-5)


def test_a_large_batch_stays_equal_over_a_long_run_and_another_seed():
    here, there = twins()
    rng = np.random.default_rng(0)
    for seed in (5, 6):  # the graph captured under the first seed serves the second
        here.reset(seed), there.reset(seed)
        for _ in range(200):
            actions = actions_of(here, rng)
            here.step(actions)
            there.step(actions)
        same_state(here, there)
        one, other = here.episodes(), there.episodes()
        assert one is not None
        assert other is not None
        assert one.count == other.count > 2048
        np.testing.assert_allclose(other.mean["maker"], one.mean["maker"], rtol=1e-5)


@pytest.mark.parametrize("graph", [True, False])
def test_nothing_in_a_step_waits_for_the_device(graph):
    _, env = twins(256, gpu=GpuOptions(graph=graph))
    env.reset()
    actions = {role: x.to(env.device) for role, x in actions_of(env, np.random.default_rng(0)).items()}
    for _ in range(3):
        env.step(actions)
    before = torch.cuda.memory_allocated(env.device)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(20):
            env.step(actions)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.cuda.memory_allocated(env.device) == before


def test_the_caller_can_capture_a_step():
    here, there = twins(256)
    rng = np.random.default_rng(3)
    buffers = {role: x.to(there.device) for role, x in actions_of(here, rng).items()}
    there.reset()
    there.step(buffers)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        _, reward, _, _, _ = there.step(buffers)
    here.reset(9), there.reset(9)
    for _ in range(120):
        actions = actions_of(here, rng)
        _, want, _, _, _ = here.step(actions)
        for role, buffer in buffers.items():
            buffer.copy_(actions[role])
        graph.replay()
    same_state(here, there)
    torch.testing.assert_close(reward["maker"].cpu(), want["maker"], rtol=1e-5, atol=1e-4)


def test_regimes_can_be_set_while_a_graph_stands():
    here, there = twins(256)
    rng = np.random.default_rng(4)
    here.reset(), there.reset()
    for i in range(60):
        if i == 20:
            here.set_regimes({"stress": 1.0}, 3.0)
            there.set_regimes({"stress": 1.0}, 3.0)
        actions = actions_of(here, rng)
        here.step(actions)
        there.step(actions)
    same_state(here, there)


def test_a_nan_is_named_at_the_next_look():
    assert cuda_runs.nan_message("cuda") == cuda_runs.nan_message("cpu")


def test_a_copy_stays_on_the_device():
    _, env = twins(16)
    assert env.copy(4, 1).device == env.device
