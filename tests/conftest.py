"""Settings of every test: one thread each for numba and torch, set before either is imported. Finds the real data where there is any."""

import os
import sys
from pathlib import Path
from typing import NamedTuple

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


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def lobgraph(monkeypatch, capsys):
    """Run the command in this process: torch and the compiled kernels are loaded once for all tests."""

    from lobgraph.cli import main

    def run(*args, code=0):
        monkeypatch.setattr(sys, "argv", ["lobgraph", *map(str, args)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main()
        done = Done(exit_.value.code or 0, *capsys.readouterr())
        assert done.code == code, done.err
        return done

    return run
