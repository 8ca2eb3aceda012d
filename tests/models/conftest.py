"""Lets the tests import the toy environment of the learning tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "rl"))
