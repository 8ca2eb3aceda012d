"""Ready for a GPU, tested without one: the kernels compile for sm_90, and under numba's CUDA simulator the same functions
give the integers of the compiled CPU path, bit for bit."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import cuda_runs
import numpy as np
import pytest
from numba import cuda, typeof
from numba.core import config as numba_config

from lobgraph.env import device, placement
from lobgraph.market import state as ms
from lobgraph.market.params import make_params

SM_90 = (9, 0)

# --- PTX ---


@pytest.fixture(scope="session")
def toolkit() -> None:
    """Skips where the compiler of PTX is not installed."""
    if numba_config.ENABLE_CUDASIM:  # type: ignore[attr-defined]
        pytest.skip("this process runs the CUDA simulator (NUMBA_ENABLE_CUDASIM), which compiles nothing")
    if find_spec("numba_cuda") is None:
        pytest.skip("numba-cuda is not installed: pip install -e '.[cuda]', or EXTRAS=cuda make setup")
    from cuda.pathfinder import DynamicLibNotFoundError, load_nvidia_dynamic_lib

    for library in ("nvvm", "nvrtc"):
        try:
            load_nvidia_dynamic_lib(library)
        except DynamicLibNotFoundError:
            pytest.skip(f"lib{library} of the CUDA toolkit is not installed: pip install -e '.[cuda]'")


def ptx_of(kernel, *args) -> str:
    """PTX for sm_90. numba-cuda asks for the device at hand when a kernel calls a function: it is told one."""
    here = mock.Mock(return_value=SimpleNamespace(compute_capability=SM_90))
    with mock.patch("numba.cuda.dispatcher.get_current_device", here):
        return cuda.compile_ptx(kernel, tuple(map(typeof, args)), cc=SM_90)[0]


def check_ptx(ptx: str) -> None:
    """One kernel for sm_90 that calls nothing, knows nothing undefined and needs no memory of its own."""
    assert re.search(r"^\.target sm_90\b", ptx, re.M)
    assert len(re.findall(r"\.entry\b", ptx)) == 1
    for word in (r"\.extern\b", r"\bcall\b", r"\.local\b", r"malloc", r"NRT_", r"trap;"):
        assert not re.search(word, ptx), f"{word} in the PTX"


def world(env) -> tuple:
    return make_params(env.cfg, env.seed), env._flow, env._tape, env.state


def arguments(kernel: Callable, layout: str) -> tuple:
    """What MarketEnv launches a kernel with, as numpy arrays of that layout."""
    env = cuda_runs.noise_market()
    p, f, tape, state = world(env)
    last = placement.env_last(state._fields, layout)
    state = type(state)(
        *(np.moveaxis(np.moveaxis(x, 0, -1).copy(), -1, 0) if name in last and x.ndim > 1 else x
          for name, x in zip(state._fields, state, strict=True))
    )  # fmt: skip
    envs = env.num_envs
    marks = device.Marks(np.arange(envs), np.zeros(envs, np.uint8), np.full(envs, -1))
    given = {"params": p, "flow": f, "tape": tape, "state": state, "out": env.buffers, "marks": marks}
    actions = env._arrays(cuda_runs.random_actions(env, np.random.default_rng(0)))
    names = device.ARGUMENTS[kernel]
    return (*(given[name] for name in names if name in given), *(actions if "actions" in names else ()))


@pytest.mark.usefixtures("toolkit")
def test_the_books_step_compiles_for_sm_90():
    check_ptx(ptx_of(device.step_books, *arguments(device.step_books, "mixed")))


@pytest.mark.slow
@pytest.mark.usefixtures("toolkit")
@pytest.mark.parametrize("kernel", device.ARGUMENTS, ids=lambda kernel: kernel.__name__)
@pytest.mark.parametrize("layout", ["mixed", "env_major"])
def test_the_device_kernels_compile_and_link_for_sm_90(kernel, layout, capsys):
    """Every phase to machine code. Registers and spills are printed, not judged."""
    ptx = ptx_of(kernel, *arguments(kernel, layout))
    check_ptx(ptx)
    log = linked(ptx)
    assert kernel.__name__ in log
    used = re.findall(r"\d+ (?:registers|stack|bytes lmem)", log)
    with capsys.disabled():
        print(f"\n{kernel.__name__}, {layout}: {len(ptx)} characters of PTX, {', '.join(used)}")


def test_a_fused_multiply_add_does_not_change_the_total_rate():
    """The one product in the event loop that a GPU adds without rounding it first must be exact."""
    for limit, market, cancel in map(np.ndarray.tolist, cuda_runs.noise_market()._flow.rate.reshape(-1, 3)):
        for lots in (*range(1, 400), (1 << 29) - 1):
            fused = float(Fraction(limit + market) + Fraction(cancel) * lots)
            assert limit + market + cancel * lots == fused


def linked(ptx: str) -> str:
    """What the linker says about the machine code it makes of PTX."""
    nvjitlink = pytest.importorskip("cuda.bindings.nvjitlink", reason="nvidia-nvjitlink is not installed")
    options = ["-arch=sm_90", "-verbose"]
    link = nvjitlink.create(len(options), options)
    nvjitlink.add_data(link, nvjitlink.InputType.PTX, ptx.encode(), len(ptx), "kernel")
    nvjitlink.complete(link)
    log = bytearray(nvjitlink.get_info_log_size(link))
    nvjitlink.get_info_log(link, log)
    return log.decode()


# --- simulator ---


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> dict[str, np.ndarray]:
    """The runs of cuda_runs.py, made by MarketEnv(device="cuda") in a process that simulates the GPU."""
    file = tmp_path_factory.mktemp("cuda") / "runs.npz"
    environ = os.environ | {
        "NUMBA_ENABLE_CUDASIM": "1",
        "NUMBA_DISABLE_JIT": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, Path(cuda_runs.__file__), file], env=environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return dict(np.load(file))


def check_equal(here: dict[str, np.ndarray], there: dict[str, np.ndarray], market: str) -> None:
    """Integers to the bit, floats to rounding."""
    assert {f"{market}/{name}" for name in here} == {n for n in there if n.startswith(f"{market}/")}
    for name, want in here.items():
        got = there[f"{market}/{name}"]
        assert (got.dtype, got.shape) == (want.dtype, want.shape), name
        if want.dtype.kind == "f":
            rtol = 1e-5 if want.dtype == np.float32 else 1e-12
            np.testing.assert_allclose(got, want, rtol, atol=rtol, err_msg=name)
        else:
            np.testing.assert_array_equal(got, want, err_msg=name)


def test_the_simulated_gpu_runs_the_noise_market_as_the_cpu_does(simulated):
    here = cuda_runs.run(cuda_runs.noise_market())
    check_equal(here, simulated, "noise")
    head, account = here["head"], here["account"][..., :-1, :]
    assert head[..., ms.EVENTS].max(axis=0).sum() > 2_000
    assert head[..., ms.DROPPED].any(), "the window never moved"
    assert (account[..., ms.PASSIVE_NOTIONAL] > 0).any(axis=(0, 1, 2))[:2].all(), "a maker was never filled"
    assert account[..., 2:, ms.AGGRESSIVE_NOTIONAL].any(axis=(0, 1, 2)).all(), "somebody never traded"
    assert set(np.unique(here["clock"][..., ms.REGIME])) == {0, 1}
    assert here["done"].any()
    assert here["flag"][..., 0].any(), "no agent broke its drawdown limit"
    assert here["episodes/count"].sum() >= cuda_runs.ENVS, "an environment ended no whole episode"


def test_the_simulated_gpu_names_the_place_of_a_nan_as_the_cpu_does(simulated):
    message = cuda_runs.nan_message("cpu")
    assert "(2, 0, 1, 1)" in message
    assert str(simulated["nan"]) == message


def test_the_simulated_gpu_replays_recorded_books_as_the_cpu_does(simulated):
    here = cuda_runs.run(cuda_runs.replay_market())
    check_equal(here, simulated, "replay")
    head, account = here["head"], here["account"][..., :-1, :]
    assert head[..., ms.EVENTS].max(axis=0).sum() > 200
    assert head[..., ms.CLIPPED].any(), "every message fitted"
    assert account[..., ms.PASSIVE_NOTIONAL].any()
    assert account[..., ms.AGGRESSIVE_NOTIONAL].any()
    assert here["done"].any()


def test_the_simulated_gpu_runs_the_stressed_market_as_the_cpu_does(simulated):
    here = cuda_runs.run(cuda_runs.stressed_market())
    check_equal(here, simulated, "stressed")
    assert (here["event"][..., ms.SINCE_STEP] >= 0).any(axis=(0, 1)).all(), "an event never came"
    assert here["stress"][..., ms.HALTS].any(), "the circuit breaker never tripped"
    account = here["account"][..., :-1, :]
    for column in (ms.CUT_VALUE, ms.CUT_RATE, ms.REFUSED):
        assert account[..., column].any()
