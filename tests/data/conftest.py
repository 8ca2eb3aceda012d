"""Lets the tests import the file maker beside them and the reference implementations in tests/oracle, and finds the real data where there is any."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
REAL = Path(os.environ.get("LOBGRAPH_DATA") or Path(__file__).parents[3] / "shared" / "data")


@pytest.fixture(scope="session")
def real():
    """find(pattern): sorted paths in the real data; skips the test where there are none."""

    def find(pattern: str) -> list[Path]:
        found = sorted(REAL.glob(pattern))
        if not found:
            pytest.skip(f"no {pattern} in {REAL}: set LOBGRAPH_DATA to the data folder")
        return found

    return find
