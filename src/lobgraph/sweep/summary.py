"""What a sweep leaves for its reader: the figure and the paths of its files."""

# pyright: reportMissingImports=false
from __future__ import annotations

from pathlib import Path

import pandas as pd

from ..report.style import save
from .figure import draw, importances
from .study import Sweep
from .trial import STUDY, storage_of


def finish(sweep: Sweep, path: Path, table: pd.DataFrame) -> list[Path]:
    """Draw sweep.png and return what is there to look at."""
    import optuna

    study = optuna.load_study(study_name=STUDY, storage=storage_of(path))
    made = save(draw(sweep, table, importances(study, sweep)), path / "sweep.png")
    return [f for f in (path / "trials.csv", path / "best.yaml", made) if f.is_file()]
