"""The predictions of `ser_hf.predict`: a table with its columns as arrays."""

import dataclasses

import numpy as np
import pyarrow as pa

from .outputs import VALUES, TableMetadata, matrix


@dataclasses.dataclass(frozen=True)
class PredictionTable:
    """Predictions of a model for recordings.

    Args:
        table: the rows, see `ser_hf.inference.outputs.table`.
        metadata: a description of the model and its windows.
        skipped: (id, reason) of recordings that could not be read.
    """

    table: pa.Table
    metadata: TableMetadata
    skipped: list[tuple[str, str]]

    def __len__(self) -> int:
        return len(self.table)

    @property
    def ids(self) -> list[str]:
        """The id of the recording of each row."""
        return self.table["id"].to_pylist()

    @property
    def labels(self) -> list[str]:
        """The names of the columns of probabilities and logits."""
        return self.metadata.labels

    @property
    def predicted(self) -> list[str] | None:
        """The label of each row; None for a model of dimensions.

        If a clip may have several labels, those above the threshold, such as ``angry+sad``.
        """
        return None if self.metadata.ranges else self.table["predicted"].to_pylist()

    @property
    def probabilities(self) -> np.ndarray | None:
        """Probabilities, float32 (rows, labels); None for a model of dimensions."""
        return None if self.metadata.ranges else matrix(self.table, "probabilities")

    @property
    def values(self) -> np.ndarray | None:
        """Dimensions on the scale of the ratings, float32 (rows, dimensions); None without any."""
        return matrix(self.table, VALUES) if VALUES in self.table.column_names else None

    @property
    def dimensions(self) -> list[str]:
        """The names of the columns of `values`; empty for a model of classes."""
        return list(self.metadata.ranges or self.metadata.rating_ranges)

    @property
    def logits(self) -> np.ndarray:
        """Logits, float32 (rows, labels)."""
        return matrix(self.table, "logits")

    @property
    def embeddings(self) -> np.ndarray | None:
        """Embeddings, float32 (rows, size); None if they were not requested."""
        return matrix(self.table, "embedding") if "embedding" in self.table.column_names else None
