"""A Parquet file that is written in parts, which outlive the process that made them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sklearn_bert._process._atomic_file import new_file
from sklearn_bert.distributed._source import PARQUET

if TYPE_CHECKING:
    import pyarrow

FOLDER = ".parts"
# How far the answers of two runs may lie apart: of bfloat16, on another machine.
SAME = 2e-2


class Parts:
    """The parts of a Parquet file: one for each batch, in a folder beside it.

    A part is whole or not there.
    The last step puts them into one file, with a row group for each, and removes them.

    Parameters
    ----------
    output : Path
        The file to make.
    """

    def __init__(self, output: Path) -> None:
        if output.suffix != ".parquet":
            raise ValueError(f"output is {str(output)!r}; expected a name in .parquet.")
        if find_spec("pyarrow") is None:
            raise ModuleNotFoundError(f"output= takes pyarrow to write. {PARQUET}")
        if output.exists():
            raise FileExistsError(
                f"output {str(output)!r} exists already. Remove it, or choose another "
                "name."
            )
        self.output = output
        self.folder = output.with_name(output.name + FOLDER)
        self.folder.mkdir(exist_ok=True)  # which says at once where that is impossible

    def _path(self, place: int) -> Path:
        return self.folder / f"{place:08d}.parquet"

    def has(self, place: int) -> bool:
        """Tell whether an earlier run has made this part."""
        return self._path(place).exists()

    def read(self, place: int) -> pyarrow.Table:
        """Return a part."""
        from pyarrow.parquet import read_table

        return read_table(self._path(place))

    def check_rows(self, place: int, n_rows: int) -> None:
        """Raise ValueError unless a part has so many rows."""
        from pyarrow.parquet import read_metadata

        found = read_metadata(self._path(place)).num_rows
        if found != n_rows:
            raise self._of_another_run(
                f"batch {place} has {n_rows} rows, and its part {found}"
            )

    def check_same(self, place: int, table: pyarrow.Table) -> None:
        """Raise ValueError unless a part holds these answers."""
        if not _are_same(table, self.read(place)):
            raise self._of_another_run(f"batch {place} has other answers now")

    def _of_another_run(self, why: str) -> ValueError:
        return ValueError(
            f"{self.folder} holds the answers of another run: {why}. Go on with the "
            "source, model, method and batch_rows that made them, or remove the folder "
            "to begin anew."
        )

    def write(self, place: int, table: pyarrow.Table) -> None:
        """Write a part."""
        from pyarrow.parquet import write_table

        with new_file(self._path(place)) as draft:
            write_table(table, draft)

    def remove_if_empty(self) -> None:
        """Remove the folder where nothing was written to it."""
        with suppress(OSError):  # it holds parts, or is gone
            self.folder.rmdir()

    def join(self, n_parts: int) -> Path:
        """Put the parts into one file, and remove them.

        Raises
        ------
        ValueError
            Where an earlier run made more parts, so that its source was longer.
        """
        from pyarrow.parquet import ParquetWriter

        if self.has(n_parts):
            raise self._of_another_run(f"source ended after {n_parts} batches")
        with (
            new_file(self.output) as draft,
            ParquetWriter(draft, self.read(0).schema) as writer,
        ):
            for place in range(n_parts):
                writer.write_table(self.read(place))
        shutil.rmtree(self.folder)
        return self.output


def _are_same(one: pyarrow.Table, other: pyarrow.Table) -> bool:
    if one.schema != other.schema:
        return False
    pairs = zip(map(_flat, one.columns), map(_flat, other.columns), strict=True)
    return all(
        np.shape(new) == np.shape(old)
        and (
            np.allclose(new, old, rtol=0, atol=SAME)
            if new.dtype.kind == "f"
            else np.array_equal(new, old)
        )
        for new, old in pairs
    )


def _flat(column: pyarrow.ChunkedArray) -> np.ndarray:
    values = column.combine_chunks()
    while hasattr(values, "flatten") and hasattr(values.type, "value_type"):
        values = values.flatten()
    return values.to_numpy(zero_copy_only=False)


def as_table(answers: Any, classes: Any) -> pyarrow.Table:
    """Return a batch's answers as columns.

    A number or label a row is the column "prediction"; probabilities are a column for
    each class, by its name; vectors are lists in the column "vector"; and what has
    another length in each row, as tags of words, are lists in "prediction".
    """
    import pyarrow

    return pyarrow.table(dict(_columns(answers, classes)))


def _columns(answers: Any, classes: Any) -> Iterator[tuple[str, Any]]:
    import pyarrow

    if isinstance(answers, list):
        lists = [np.asarray(row).tolist() for row in answers]
        yield "prediction", pyarrow.array(lists)
    elif np.ndim(answers) == 1:
        yield "prediction", pyarrow.array(answers)
    elif len(classes) == np.shape(answers)[1]:
        for name, column in zip(classes, np.asarray(answers).T, strict=True):
            yield str(name), pyarrow.array(np.ascontiguousarray(column))
    else:
        rows = np.ascontiguousarray(answers)
        yield (
            "vector",
            pyarrow.FixedSizeListArray.from_arrays(rows.ravel(), rows.shape[1]),
        )
