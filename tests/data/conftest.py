"""Lets the tests import the file maker beside them and the reference implementations in tests/oracle."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
