"""Maps of embeddings in two dimensions: PCA and t-SNE."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from ..utils.errors import UserError
from .predictions import Predictions

NAMES = {"pca": "PCA", "tsne": "t-SNE"}
# More points hide each other, and take t-SNE minutes.
MOST = 2000
# t-SNE searches for neighbors in so many principal components (van der Maaten and Hinton 2008 took 30).
COMPONENTS = 50
FEWEST = 4


def mean_by_clip(rows: Sequence[int], lengths: Sequence[int], vectors: np.ndarray) -> np.ndarray:
    """Average the vectors of each clip's windows, weighted by duration.

    Args:
        rows: the clip of each window, (windows,).
        lengths: samples of each window, (windows,).
        vectors: (windows, size).

    Returns:
        float32 (clips, size), in the order in which clips first occur in `rows`.
    """
    _, first, clip_of = np.unique(rows, return_index=True, return_inverse=True)
    weights = np.asarray(lengths, dtype=np.float64)
    means = np.zeros((len(first), vectors.shape[1]))
    np.add.at(means, clip_of, vectors * weights[:, None])
    means /= np.bincount(clip_of, weights)[:, None]
    return means[np.argsort(first)].astype(np.float32)


def embeddings_map(clips: Predictions, vectors: np.ndarray) -> tuple[dict[str, Any], pa.Table]:
    """Compute a two-dimensional map of the clips by PCA and t-SNE.

    Args:
        clips: at least `FEWEST`; of more than `MOST` a random sample is used.
        vectors: inputs of the classifier's last layer, (clips, size).

    Returns:
        The report's `embeddings`, and a table with id, label, speaker, corpus and the coordinates of each method.
    """
    chosen = np.arange(len(clips))
    if len(clips) > MOST:
        chosen = np.sort(np.random.default_rng(0).choice(len(clips), MOST, replace=False))
    places, some = project(vectors[chosen]), clips.only(chosen)
    columns: dict[str, Any] = {
        "id": some.ids,
        "label": [some.names[label] for label in some.labels],
        "speaker": some.speakers,
        "corpus": some.columns["corpus"],
    }
    for method, own in places.items():
        columns |= {f"x_{method}": own[:, 0], f"y_{method}": own[:, 1]}
    facts = {
        "methods": list(NAMES),
        "clips": len(chosen),
        "points": "embeddings.parquet",
        "of": "input of the classifier's last layer",
    }
    return facts, pa.table(columns)


def project(vectors: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """{method: (clips, 2)} coordinates, float32, equal for equal seeds on one machine.

    Features are standardized. ``pca`` are two principal components; ``tsne`` (van der Maaten and Hinton 2008, JMLR 9)
    starts from the first `COMPONENTS`, and its distances between groups mean little.
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    if not np.isfinite(vectors).all():
        raise UserError("projection: the embeddings are not all finite numbers")
    if (vectors == vectors[0]).all():  # neither method can project equal vectors
        return {method: np.zeros((len(vectors), 2), np.float32) for method in NAMES}
    with threadpool_limits(1):  # the same sums on every machine
        count = min(COMPONENTS, *vectors.shape)
        components = PCA(count, random_state=seed).fit_transform(StandardScaler().fit_transform(vectors))
        components = np.pad(components, ((0, 0), (0, max(0, 2 - count))))
        perplexity = min(30.0, (len(components) - 1) / 3)  # t-SNE uses three times as many neighbors
        neighbors = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(components)
        return {"pca": components[:, :2].astype(np.float32), "tsne": neighbors.astype(np.float32)}
