"""Lets the tests make LOBSTER files as those of the readers do."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
