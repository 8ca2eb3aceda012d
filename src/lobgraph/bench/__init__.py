"""Speed of the engine, the environment and training, measured through what users call.

A plan of settings (plan.py) goes to the case functions (market.py, steps.py), whose figures run.py completes, prints and
saves. Rates count what happened: events carried out on a book (a thinned-out cancel is none), recorded messages, agents'
messages that the book carried out, env steps (one environment, one decision) with everything they hold.
"""

from .plan import NAMES, START
from .run import run_bench

__all__ = ["NAMES", "START", "run_bench"]
