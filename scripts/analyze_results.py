"""Compare rewards.csv files: one figure of all learning curves, summary statistics, paired differences over seeds.

    python scripts/analyze_results.py --csv artifacts/single_maker/rewards.csv artifacts/multi_agent_basic/rewards.csv

Runs that differ in their seed alone are one group, drawn as its mean and standard deviation.
"""

import argparse

from lobgraph.report.console import clear_errors, say, show


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--csv", nargs="+", required=True, metavar="FILE", help="rewards.csv files")
    parser.add_argument(
        "--labels", nargs="+", default=[], metavar="NAME", help="a name per file; equal ones are grouped"
    )
    parser.add_argument(
        "--share", type=float, default=0.1, help="of updates that are start and end (default %(default)s)"
    )
    parser.add_argument("--out", default="artifacts/analysis", metavar="DIR", help="default %(default)s")
    args = parser.parse_args()
    with clear_errors():
        from lobgraph.report.groups import compare

        result = compare(args.csv, args.out, args.labels, args.share)
        show(result.summary, "Episode reward (tick-lots): mean of the first and the last updates")
        if len(result.differences):
            show(result.differences, "Last reward against the first group's, paired by seed")
        say(f"written: {', '.join(map(str, result.files))}")


if __name__ == "__main__":
    main()
