#!/usr/bin/env python3
"""Compiles the GPU's kernels ahead of their use, a process for each kernel, while another compiles the CPU's.

python scripts/warm_gpu.py [--layouts mixed env_last env_major] [--fused]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from time import perf_counter

CPU = "cpu"


def work(name: str, layouts: list[str]) -> None:
    import torch

    from lobgraph import MarketEnv, load_config
    from lobgraph.env import device
    from lobgraph.env.placement import GpuOptions

    cfg = load_config(None, ["agents.taker.count=1", "env.num_envs=2"])
    if name == CPU:
        env = MarketEnv(cfg)
        env.reset()
        env.step({role: torch.zeros(2, s.count, s.items, len(s.low)) for role, s in env.specs.items()})
        return
    for layout in layouts:
        env = MarketEnv(cfg, device="cuda", gpu=GpuOptions(layout=layout))
        env._loop.compile(getattr(device, name))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layouts", nargs="+", default=["mixed"])
    parser.add_argument("--fused", action="store_true", help="also the kernels of GpuOptions(fused=True)")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        work(args.only, args.layouts)
        return 0
    from lobgraph.env.device import ARGUMENTS

    every = [phase.__name__ for phase in ARGUMENTS]
    names = [name for name in every if args.fused or name not in ("start_all", "step_all")]
    begun, failed = perf_counter(), False
    command = [sys.executable, __file__, "--layouts", *args.layouts, "--only"]
    running = {name: subprocess.Popen([*command, name]) for name in (CPU, *names)}
    for name, process in running.items():
        failed |= (code := process.wait()) != 0
        print(f"{name}: {'failed' if code else 'ready'} after {perf_counter() - begun:.0f} s", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
