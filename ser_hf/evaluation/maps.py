"""Maps of embeddings in two dimensions, by PCA, t-SNE or UMAP, with silhouettes of groups.

scikit-learn is imported where it is used, because reading a recipe imports this module.
"""

import dataclasses
import importlib.util
import warnings
from collections.abc import Sequence
from typing import get_args

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from ..utils.errors import UserError
from .predictions import Predictions
from .sections import EmbeddingMap, MapMethod
from .tasks import Task

METHODS: tuple[str, ...] = get_args(MapMethod)
METHOD_NAMES = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
# More points hide each other. The limit also bounds the time for embeddings, t-SNE and silhouettes.
MOST_CLIPS = 2000
# t-SNE and UMAP need neighbors.
FEWEST_CLIPS = 5
# t-SNE and UMAP start from principal components, as van der Maaten and Hinton (2008) do with 30.
_COMPONENTS = 50
_PERPLEXITY = 30.0
_NEIGHBORS = 15


class NoMap(ValueError):
    """Clips whose embeddings have no map; the message has the reason."""


@dataclasses.dataclass(frozen=True)
class ClipMap:
    """A map of clips.

    Args:
        section: the report's `embeddings`.
        table: one row per clip: id, speaker, label and predicted (for dimensions `true_NAME`), and
            the coordinates x and y, float32. None if there is no map.
    """

    section: EmbeddingMap
    table: pa.Table | None


@dataclasses.dataclass(frozen=True)
class Projection:
    """A projection of embeddings.

    Args:
        points: float32 (clips, 2).
        explained: for PCA, the share of the variance on each axis.
        settings: the values of the method's parameters that depend on the number of clips.
    """

    points: np.ndarray
    explained: list[float] | None = None
    settings: dict[str, float] = dataclasses.field(default_factory=dict)


def require_installed(method: str | None, key: str) -> None:
    """Check that the packages of a method are installed.

    Args:
        key: the key or option that the message names.

    Raises:
        UserError: for UMAP without umap-learn.
    """
    if method == "umap" and importlib.util.find_spec("umap") is None:
        raise UserError(
            f'{key}: umap needs umap-learn: pip install "ser_hf[umap]"; pca and tsne need no '
            "further package"
        )


def sampled_clips(clips: int, seed: int = 0) -> np.ndarray:
    """The positions of the clips on a map, in order: all, or a random sample of `MOST_CLIPS`."""
    if clips <= MOST_CLIPS:
        return np.arange(clips)
    return np.sort(np.random.default_rng(seed).choice(clips, MOST_CLIPS, replace=False))


def no_map(method: str, clips: int, reason: str) -> ClipMap:
    """The result for clips whose embeddings have no map.

    Args:
        clips: number of the evaluated clips.
        reason: a sentence without its full stop.
    """
    return ClipMap(EmbeddingMap(method=method, of_clips=clips, clips=0, missing=reason), None)


def map_embeddings(
    predictions: Predictions,
    vectors: np.ndarray,
    method: str,
    *,
    of_clips: int | None = None,
    seed: int = 0,
) -> ClipMap:
    """Map the embeddings of clips, and measure how well they separate emotions and speakers.

    The silhouettes (Rousseeuw 1987, doi:10.1016/0377-0427(87)90125-7) are computed with all
    dimensions of the standardized embeddings, not with the two of the map.

    Args:
        predictions: the clips on the map, with the predictions of one run.
        vectors: embeddings, (clips, size).
        method: one of `METHODS`.
        of_clips: the number of evaluated clips, if the clips on the map are a sample.
        seed: seed of the random numbers of the methods.
    """
    from sklearn.metrics import pairwise_distances

    of_clips = of_clips or len(predictions)
    try:
        standardized = _standardized(vectors)
        # One thread adds in the same order each time.
        with threadpool_limits(1):
            projection = project(standardized, method, seed)
            distances = pairwise_distances(standardized)
    except NoMap as error:
        return no_map(method, of_clips, str(error))
    has_classes = predictions.task.one_label
    section = EmbeddingMap(
        method=method,
        clips=len(predictions),
        of_clips=of_clips,
        size=vectors.shape[1],
        emotions=silhouette(distances, predictions.labels) if has_classes else None,
        speakers=silhouette(distances, predictions.speakers),
        explained=projection.explained,
        settings=projection.settings,
        seed=seed,
    )
    return ClipMap(section, _table(predictions, projection.points))


def map_schema(names: Sequence[str], task: Task) -> pa.Schema:
    """The columns of the table of a map.

    Args:
        names: the names of the classes or dimensions.
    """
    columns = [("id", pa.string()), ("speaker", pa.string())]
    if task.one_label:
        columns += [("label", pa.string()), ("predicted", pa.string())]
    else:
        columns += [(f"true_{name}", pa.float32()) for name in names]
    columns += [("x", pa.float32()), ("y", pa.float32())]
    return pa.schema(columns)


def _table(predictions: Predictions, points: np.ndarray) -> pa.Table:
    """The table of a map, see `ClipMap`."""
    names = predictions.names
    columns = {"id": predictions.ids, "speaker": predictions.speakers}
    if predictions.task.one_label:
        (predicted,) = predictions.predicted
        columns["label"] = [names[label] for label in predictions.labels]
        columns["predicted"] = [names[label] for label in predicted]
    else:
        for i, name in enumerate(names):
            columns[f"true_{name}"] = predictions.labels[:, i].astype(np.float32)
    columns["x"] = points[:, 0]
    columns["y"] = points[:, 1]
    return pa.table(columns, schema=map_schema(names, predictions.task))


def _standardized(vectors: np.ndarray) -> np.ndarray:
    """Standardize each feature to mean 0 and variance 1, float64 (clips, size).

    Features that are equal in all clips become 0.

    Raises:
        NoMap: for too few clips, for equal embeddings and for values that are not finite.
    """
    from sklearn.preprocessing import StandardScaler

    vectors = np.asarray(vectors, dtype=np.float64)
    if len(vectors) < FEWEST_CLIPS:
        raise NoMap(f"a map needs {FEWEST_CLIPS} clips or more, and there are {len(vectors)}")
    if not np.isfinite(vectors).all():
        raise NoMap("some embeddings are not finite")
    standardized = StandardScaler().fit_transform(vectors)
    if not standardized.any():
        raise NoMap("all clips have the same embedding")
    return standardized


def project(vectors: np.ndarray, method: str, seed: int = 0) -> Projection:
    """Project standardized embeddings, (clips, size), to two dimensions.

    Equal seeds give equal points on the same machine. PCA keeps distances as well as a linear
    projection can. t-SNE (van der Maaten and Hinton 2008, JMLR 9) and UMAP (McInnes et al. 2018,
    arXiv:1802.03426) keep neighbors; with them, distances between groups mean little.
    """
    from sklearn.decomposition import PCA

    components = min(2 if method == "pca" else _COMPONENTS, *vectors.shape)
    pca = PCA(components, random_state=seed)
    scores = pca.fit_transform(vectors)
    if components < 2:
        scores = np.pad(scores, ((0, 0), (0, 1)))
    if method == "pca":
        explained = [float(share) for share in pca.explained_variance_ratio_]
        explained += [0.0] * (2 - components)
        return Projection(scores.astype(np.float32), explained)
    if method == "tsne":
        return _tsne(scores, seed)
    return _umap(scores, seed)


def _tsne(scores: np.ndarray, seed: int) -> Projection:
    from sklearn.manifold import TSNE

    # t-SNE uses three times as many neighbors as the perplexity.
    perplexity = min(_PERPLEXITY, (len(scores) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=seed)
    points = tsne.fit_transform(scores)
    return Projection(points.astype(np.float32), settings={"perplexity": perplexity})


def _umap(scores: np.ndarray, seed: int) -> Projection:
    # The import compiles functions for seconds.
    from umap import UMAP

    neighbors = min(_NEIGHBORS, len(scores) - 1)
    # The spectral start needs more clips than it computes eigenvectors.
    start = "spectral" if len(scores) > _NEIGHBORS else "random"
    with warnings.catch_warnings():
        # UMAP warns that a seed leaves it one thread.
        warnings.simplefilter("ignore")
        umap = UMAP(n_neighbors=neighbors, init=start, random_state=seed)
        points = umap.fit_transform(scores)
    return Projection(points.astype(np.float32), settings={"neighbors": neighbors})


def silhouette(distances: np.ndarray, groups: Sequence[str | int | None]) -> float | None:
    """The mean silhouette coefficient of clips in groups, -1 to 1.

    A clip alone in its group counts as 0, and clips of an unknown group are left out.

    Args:
        distances: distances between the clips, (clips, clips).

    Returns:
        The mean; None for a single group, or if each clip is a group by itself.
    """
    from sklearn.metrics import silhouette_score

    known = [i for i, group in enumerate(groups) if group is not None]
    names = sorted({groups[i] for i in known})
    if not 2 <= len(names) < len(known):
        return None
    number_of_group = {name: number for number, name in enumerate(names)}
    numbers = np.array([number_of_group[groups[i]] for i in known])
    within = distances[np.ix_(known, known)]
    return float(silhouette_score(within, numbers, metric="precomputed"))


def mean_map(maps: Sequence[EmbeddingMap], clips: int) -> EmbeddingMap:
    """The report's `embeddings` over folds or seeds: the means of their silhouettes.

    Each fold and seed has other embeddings, so there is no map of all of them.

    Args:
        clips: number of the evaluated clips.
    """
    mapped = [section for section in maps if section.missing is None]
    method = maps[0].method
    if not mapped:
        return no_map(method, clips, str(maps[0].missing)).section
    return EmbeddingMap(
        method=method,
        clips=sum(section.clips for section in mapped),
        of_clips=clips,
        emotions=_mean([section.emotions for section in mapped]),
        speakers=_mean([section.speakers for section in mapped]),
        seed=mapped[0].seed,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean of the values that are not None; None without such values."""
    numbers = [value for value in values if value is not None]
    return float(np.mean(numbers)) if numbers else None
