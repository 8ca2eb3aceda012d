"""Lets the tests import the reference implementations in tests/oracle and the drivers beside them."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]
