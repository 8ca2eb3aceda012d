"""Lets the tests import the toy environment beside them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
