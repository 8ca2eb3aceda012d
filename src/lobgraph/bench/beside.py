"""Ours beside JaxMARL-HFT: the same day, messages a step, environments and agents, in two processes; one table.

In: a checkout of theirs and an interpreter that has what it needs. Fair: makers and takers (market making and execution
agents there) with random actions drawn on the device, 64-step episodes with reset in the same step, the device waited for
at both ends, compilation apart, outputs kept (every observation and reward stored) and discarded (as its own speed test
does). Its books hold a number of orders a side and drop what is beyond; the day never has more. Before anything is timed both play
the day without agents, and best bid, best ask and traded volume must agree.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch

from ..config import load_config
from ..env.market_env import MarketEnv
from ..env.placement import device_of
from ..files import write_atomic
from ..market.state import ASK, BID, TRADED
from . import theirs
from .day import FIRST, LEVELS, MID, OPEN, SPACING, TICK, write_day
from .theirs import CHECKED, STEPS, rates
from .world import synchronise

Case = dict[str, Any]


def side_by_side(
    checkout: Path,
    python: str,
    device: str = "auto",
    cases: Sequence[Case] = (),
    orders: int = 100,
    messages: int = 200_000,
    json_path: Path | None = None,
) -> dict[str, Any]:
    """Measure, print the table, save it; returns what is saved.

    cases: messages (a step), agents (makers, and as many takers) and envs of each. orders: that a side of their books
    holds. messages: of the day. Raises ValueError for a checkout that is none or a day too short, RuntimeError where theirs fails or
    the two markets differ.
    """
    if not (checkout / "gymnax_exchange").is_dir():
        raise ValueError(f"{checkout}: not a checkout of JaxMARL-HFT (a folder that holds gymnax_exchange)")
    if messages < (least := 2 * (STEPS + 2) * max(case["messages"] for case in cases)):
        raise ValueError(f"a day of {messages} messages: two episodes need at least {least}")
    device = str(device_of(device))
    cases = [case | {"day": messages} for case in cases]
    with TemporaryDirectory() as name:
        folder = Path(name)
        day = write_day(folder / "rawLOBSTER" / "SYN" / "day", messages)
        check = our_check(day, cases[0], device)
        their = run_theirs(checkout, python, device, folder, cases, orders)
        ours = [our_rate(day, case, device) for case in cases]
    rows = [
        {"case": case, "ours": our, "theirs": other}
        for case, our, other in zip(cases, ours, their["rows"], strict=True)
    ]
    report = {
        "check": {"ours": check, "theirs": their["check"]},
        "ours": device,
        "theirs": their["device"],
        "rows": rows,
    }
    _show(report, orders)
    if json_path is not None:
        write_atomic(json_path, (json.dumps(report, indent=1) + "\n").encode())
    if check != their["check"]:
        raise RuntimeError("the two markets differ: the figures compare different work")
    return report


def our_env(day: Path, case: Case, device: str, agents: bool = True) -> Any:
    """Our environments on the day: a step holds as many messages as fit between two decisions."""
    step = case["messages"] * SPACING * 1e-9
    start = OPEN + (FIRST + 1) * SPACING * 1e-9
    steps, count = (STEPS, case["agents"]) if agents else (CHECKED, 0)
    # without agents the episode starts between the first message and the second
    end = OPEN + case["day"] * SPACING * 1e-9 if agents else start + steps * step + 0.5e-9 * SPACING
    overrides = [
        "market.books=[SYN]", f"market.dt={step!r}", f"market.initial_price={MID}", f"env.num_envs={case['envs']}",
        f"env.episode_steps={steps}", f"replay.files={{SYN: '{day}'}}",
        f"replay.start={start:.9f}", f"replay.end={end:.9f}",
        f"agents.maker.count={count}", f"agents.taker.count={count}",
    ]  # fmt: skip
    return MarketEnv(load_config(None, overrides), seed=0, device=device, autoreset=agents)


def our_check(day: Path, case: Case, device: str) -> dict[str, int]:
    env = our_env(day, case | {"envs": 1}, device, agents=False)
    env.reset()
    before = int(env.host_state().head[0, 0, TRADED])
    for _ in range(CHECKED):
        env.step({})
    head = env.host_state().head[0, 0]
    return {"bid": int(head[BID]) * TICK, "ask": int(head[ASK]) * TICK, "volume": int(head[TRADED]) - before}


def our_rate(day: Path, case: Case, device: str) -> dict[str, float]:
    begun = perf_counter()
    env = our_env(day, case, device)
    env.reset()
    bounds = {
        role: (torch.from_numpy(s.low).to(env.device), torch.from_numpy(s.high - s.low).to(env.device))
        for role, s in env.specs.items()
    }
    shapes = {role: (env.num_envs, s.count, s.items, len(s.low)) for role, s in env.specs.items()}
    stored: list[Any] = []

    def rollout(keep: bool) -> None:
        stored.clear()
        for _ in range(STEPS):
            actions = {
                role: low + width * torch.rand(shapes[role], device=env.device)
                for role, (low, width) in bounds.items()
            }
            _, reward, _, _, _ = env.step(actions)
            if keep:
                stored.append(
                    (env.nodes.clone(), env.vector.clone(), {r: x.clone() for r, x in reward.items()})
                )
        synchronise(env)

    rollout(False)
    compiled = perf_counter() - begun
    found = rates(rollout, case["envs"])
    peak = torch.cuda.max_memory_allocated(env.device) if env.device.type == "cuda" else 0
    return found | {"compile_seconds": compiled, "peak_bytes": peak}


def run_theirs(
    checkout: Path, python: str, device: str, folder: Path, cases: Sequence[Case], orders: int
) -> dict[str, Any]:
    """What theirs.py finds in its interpreter; raises RuntimeError with the end of what it said if that fails."""
    (folder / "cache").mkdir()
    work, result = folder / "work.json", folder / "result.json"
    where = {"data": str(folder), "cache": str(folder / "cache"), "levels": LEVELS, "tick": TICK}
    work.write_text(json.dumps({**where, "orders": orders, "cases": list(cases)}))
    environ = os.environ | {
        "PYTHONPATH": str(checkout.resolve()), "HOME": str(folder), "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "MPLBACKEND": "agg",
    }  # fmt: skip
    if device == "cpu":
        environ["JAX_PLATFORMS"] = "cpu"
    command = [python, str(Path(theirs.__file__).resolve()), str(work), str(result)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, cwd=checkout)
    if done.returncode != 0 or not result.is_file():
        said = (done.stdout + done.stderr)[-4000:]
        raise RuntimeError(f"JaxMARL-HFT in {checkout} by {python} failed:\n{said}")
    return json.loads(result.read_text())


def _show(report: dict[str, Any], orders: int) -> None:
    check = report["check"]
    verdict = "equal" if check["ours"] == check["theirs"] else "DIFFERENT"
    print(f"after {CHECKED} steps without agents: ours {check['ours']}, theirs {check['theirs']}: {verdict}")
    print(f"ours on {report['ours']}, theirs on {report['theirs']}, {orders} orders a side; env steps/s")
    titles = ("messages", "agents", "envs", "outputs", "ours", "theirs", "ratio", "compilation s")
    print("{:>8} {:>7} {:>6} {:>10} {:>14} {:>14} {:>9}  {}".format(*titles))
    for row in report["rows"]:
        case, our, other = row["case"], row["ours"], row["theirs"]
        for kind in ("kept", "discarded"):
            agents = f"{case['agents']}+{case['agents']}"
            print(
                f"{case['messages']:>8} {agents:>7} {case['envs']:>6} {kind:>10} {our[kind]:>14,.0f} {other[kind]:>14,.0f} "
                f"{our[kind] / other[kind]:>9.1f}  {our['compile_seconds']:.0f}, {other['compile_seconds']:.0f}"
            )
