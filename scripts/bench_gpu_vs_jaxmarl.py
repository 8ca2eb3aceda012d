#!/usr/bin/env python3
"""Side by side with a checkout of JaxMARL-HFT: the same recorded messages a step, environments and agents; a table with ratios.

    python scripts/bench_gpu_vs_jaxmarl.py --jaxmarl CHECKOUT --python ITS_PYTHON --device cuda

lobgraph.bench.beside says what is compared, and how.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jaxmarl", type=Path, required=True, help="checkout of JaxMARL-HFT")
    parser.add_argument("--python", default=sys.executable, help="interpreter that has jax and what it needs")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N, of both")
    parser.add_argument("--envs", type=int, nargs="+", default=[64, 4096])
    parser.add_argument(
        "--agents", type=int, nargs="+", default=[1, 5, 10], help="makers, and as many takers"
    )
    parser.add_argument("--messages", type=int, nargs="+", default=[100, 1], help="recorded messages a step")
    parser.add_argument("--orders", type=int, default=100, help="orders that one side of its books holds")
    parser.add_argument("--day", type=int, default=200_000, help="messages of the day")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    args = parser.parse_args()
    from lobgraph.bench.beside import side_by_side

    cases = [
        {"messages": m, "agents": k, "envs": e} for m in args.messages for k in args.agents for e in args.envs
    ]
    try:
        side_by_side(args.jaxmarl, args.python, args.device, cases, args.orders, args.day, args.json)
    except (ValueError, RuntimeError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
