"""Settings of every test: one thread each for numba and torch, set before either is imported. Finds the real data where there is any."""

import os
from pathlib import Path

import pytest

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
REAL = Path(os.environ.get("LOBGRAPH_DATA") or Path(__file__).parents[2] / "shared" / "data")


@pytest.fixture(scope="session")
def real():
    """find(pattern): sorted paths in the real data; skips the test where there are none."""

    def find(pattern: str) -> list[Path]:
        found = sorted(REAL.glob(pattern))
        if not found:
            pytest.skip(f"no {pattern} in {REAL}: set LOBGRAPH_DATA to the data folder")
        return found

    return find
