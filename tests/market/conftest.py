"""Lets the tests import the reference implementations in tests/oracle and the drivers beside them."""

import sys
from pathlib import Path

from hypothesis import settings

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

settings.register_profile("no deadline", deadline=None)  # the machine may be busy
settings.load_profile("no deadline")
