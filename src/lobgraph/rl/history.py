"""Metrics by update: in memory, in metrics.parquet, and between the two in a training's state.

The table is written whole, in a time that grows with it. A long training therefore writes it only when it has grown by a
share since the last time; a state holds the rows in between. So a checkpoint takes as long after a million updates as at first.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from ..files import DamagedFileError, read_parquet, write_atomic

WHOLE = ("update", "env_steps")  # columns of whole numbers
SHORT, SHARE = (
    4096,
    0.02,
)  # rows up to which the table is written at every checkpoint; by how much it has grown beyond


class History:
    """Eight bytes a metric and update: a training may have a hundred thousand updates. NaN where an update had none."""

    def __init__(self) -> None:
        self.count = self.written = 0  # rows; those of them that metrics.parquet has
        self.columns: dict[str, array[float]] = {}

    def add(self, metrics: Mapping[str, float]) -> None:
        """One update's."""
        for name in metrics:
            if name not in self.columns:
                self.columns[name] = array("d", [math.nan]) * self.count
        for name, column in self.columns.items():
            column.append(metrics.get(name, math.nan))
        self.count += 1

    def frame(self) -> pd.DataFrame:
        """A row per update; float64, update and env_steps int64."""
        frame = pd.DataFrame({name: np.array(column) for name, column in self.columns.items()})
        return frame.astype({c: "int64" for c in WHOLE if c in frame})

    # --- on disk ---

    def write(self, path: Path, whole: bool = True) -> None:
        """Put the table at `path`; not `whole`: only if it is short, or has grown by enough."""
        new = self.count - self.written
        if not new or not (whole or self.count <= SHORT or new >= SHARE * self.count):
            return
        arrays = {name: np.frombuffer(column, np.float64) for name, column in self.columns.items()}
        table = pa.table({name: x.astype(np.int64) if name in WHOLE else x for name, x in arrays.items()})
        write_atomic(
            path,
            lambda file: pq.write_table(
                table, file, row_group_size=SHORT, use_dictionary=False, write_page_checksum=True
            ),
        )  # dictionaries of numbers that are all different take memory, and no room less
        self.written = self.count

    def rest(self) -> tuple[list[str], Tensor]:
        """Names, and the rows (n, names) that metrics.parquet does not have yet, float64."""
        names = list(self.columns)
        rows = [np.array(self.columns[name][self.written :]) for name in names]
        return names, torch.from_numpy(np.array(rows).reshape(len(names), self.count - self.written).T.copy())

    @classmethod
    def read(cls, path: Path, update: int, names: list[str], rest: np.ndarray) -> History:
        """What there was after `update`, from metrics.parquet and the rows of a state; the file is cut back to that.

        Raises DamagedFileError naming a file that is damaged, FileNotFoundError.
        """
        history = cls()
        if not update:
            return history
        whole = read_parquet(path)
        frame = whole.iloc[:update]
        try:
            for name in frame.columns:
                history.columns[str(name)] = array("d", frame[name].to_numpy(np.float64).tobytes())
        except (ValueError, TypeError) as error:
            raise DamagedFileError(f"{path}: damaged: {error}") from None
        history.count = history.written = len(frame)
        for row in rest.tolist():
            metrics = dict(zip(names, row, strict=True))
            if metrics["update"] > history.count:
                history.add(metrics)
        if history.columns.get("update") != array("d", range(1, update + 1)):
            raise DamagedFileError(
                f"{path}: does not hold updates 1 to {update}, so that the run cannot be resumed"
            )
        if len(whole) > update:
            history.written = 0
            history.write(path)
        return history
