"""Adapts the predictions of a table to each speaker, folder or recording."""

import logging
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..utils.errors import UserError
from .adaptation import EmbeddingStatistics, Grouping, adapt, embedding_statistics
from .classifier import Classifier
from .decisions import Decision
from .outputs import TableMetadata, matrix, of_lists, prediction_columns, with_metadata

logger = logging.getLogger(__name__)


def groups_of(predictions: pa.Table, grouping: Grouping) -> list[str | None]:
    """Return the group of each row; None for a row without a speaker."""
    if grouping == "speaker":
        return predictions["speaker"].to_pylist()
    if grouping == "folder":
        return [str(Path(path).parent) for path in predictions["path"].to_pylist()]
    return predictions["id"].to_pylist()


def require_groups(predictions: pa.Table, grouping: Grouping) -> None:
    """Refuse recordings without speakers, if they are to be grouped by speaker."""
    if grouping == "speaker" and not any(groups_of(predictions, grouping)):
        raise UserError(
            "--adapt: no recording has a speaker; list the recordings in a table with a column "
            "speaker, or use --adapt folder"
        )


def table_statistics(predictions: pa.Table) -> EmbeddingStatistics:
    """Compute the statistics of embeddings over speakers, or over folders without speakers."""
    speakers = groups_of(predictions, "speaker")
    folders = groups_of(predictions, "folder")
    names = [speaker or folder for speaker, folder in zip(speakers, folders, strict=True)]
    return embedding_statistics(matrix(predictions, "embedding"), names)


def adapted_table(
    classifier: Classifier,
    statistics: EmbeddingStatistics,
    predictions: pa.Table,
    metadata: TableMetadata,
    decision: Decision,
    *,
    embeddings: bool,
) -> pa.Table:
    """Replace the predictions of a table by those of adapted embeddings.

    Args:
        predictions: a table with embeddings, and the logits of all labels of the model.
        metadata: the metadata of the new table; its `adapt` says how rows are grouped.
        embeddings: whether the new table has the adapted embeddings.
    """
    adapted = adapt(
        classifier,
        statistics,
        matrix(predictions, "embedding"),
        matrix(predictions, "logits"),
        groups_of(predictions, metadata.adapt),
        whole=np.asarray(predictions["window"].is_valid()),
    )
    logger.info(
        "adapted to %d of %d groups without labels (transductive: a prediction depends on the "
        "other clips of its group)",
        adapted.adapted_groups,
        adapted.groups,
    )
    columns = {}
    for name in predictions.column_names:
        columns[name] = predictions[name]
    columns |= prediction_columns(adapted.logits, metadata, decision)
    columns["adapted"] = pa.array(adapted.adapted)
    if embeddings:
        columns["embedding"] = of_lists(adapted.vectors)
    else:
        del columns["embedding"]
    return with_metadata(pa.table(columns), metadata)
