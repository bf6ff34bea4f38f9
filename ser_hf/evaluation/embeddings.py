"""Maps of embeddings in two dimensions: PCA, t-SNE and UMAP, for looking at what a model keeps together."""

import importlib.util
import warnings
from collections.abc import Sequence

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from ..utils.errors import UserError

METHODS = ("pca", "tsne", "umap")
NAMES = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
# More points hide each other, and take t-SNE minutes.
MOST = 2000
# What the neighbours of t-SNE and UMAP are looked for among (van der Maaten and Hinton 2008, section 4.2, took 30).
COMPONENTS = 50
FEWEST = 4


def available() -> list[str]:
    """The methods that are installed: UMAP is an extra."""
    return [method for method in METHODS if method != "umap" or importlib.util.find_spec("umap")]


def subset(clips: int, seed: int = 0, most: int = MOST) -> np.ndarray:
    """Places of the clips that are drawn, in their order: all, or `most` of them at random where there are more."""
    if clips <= most:
        return np.arange(clips)
    return np.sort(np.random.default_rng(seed).choice(clips, most, replace=False))


def project(vectors: np.ndarray, methods: Sequence[str] = ("pca", "tsne"), seed: int = 0) -> dict[str, np.ndarray]:
    """{method: (clips, 2)} places, float32, the same for the same seed on the same machine.

    Features that differ between clips are standardised. ``pca`` are the first two principal components, ``tsne``
    (van der Maaten and Hinton 2008, JMLR 9) and ``umap`` (McInnes, Healy and Melville 2018, arXiv:1802.03426) start
    from the first `COMPONENTS` of them. Distances between groups in the latter two mean little.

    Args:
        vectors: (clips, size); choose among many by `subset`.
        methods: of `METHODS`; see `available`.

    Raises:
        UserError: for a method that is none or not installed, fewer than `FEWEST` clips, and vectors that are not
            finite.
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    for method in methods:
        if method not in METHODS:
            raise UserError(f"projection: {method} is none of {', '.join(METHODS)}")
        if method not in available():
            raise UserError('projection: umap is not installed: pip install "ser_hf[umap]"')
    if len(vectors) < FEWEST:
        raise UserError(f"projection: expected {FEWEST} clips or more, got {len(vectors)}")
    if not np.isfinite(vectors).all():
        raise UserError("projection: the embeddings are not all finite numbers")
    if (vectors == vectors[0]).all():  # nothing to tell clips apart by, which none of the three can stand
        return {method: np.zeros((len(vectors), 2), dtype=np.float32) for method in methods}
    # One thread: the same sums on every machine, and none that waits, spinning, for a core that another process has.
    with threadpool_limits(1):
        components = _components(StandardScaler().fit_transform(vectors), seed)
        return {method: _MAPS[method](components, seed).astype(np.float32) for method in methods}


def _components(vectors: np.ndarray, seed: int) -> np.ndarray:
    """(clips, up to `COMPONENTS`), two at least."""
    count = min(COMPONENTS, *vectors.shape)
    found = PCA(count, random_state=seed).fit_transform(vectors)
    return np.pad(found, ((0, 0), (0, max(0, 2 - count))))


def _pca(components: np.ndarray, seed: int) -> np.ndarray:
    return components[:, :2]


def _tsne(components: np.ndarray, seed: int) -> np.ndarray:
    """With 30 neighbours, or a third of the clips where that is less, as t-SNE looks at three times its perplexity."""
    perplexity = min(30.0, (len(components) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(components)


def _umap(components: np.ndarray, seed: int) -> np.ndarray:
    from umap import UMAP  # only now: it may be absent, and compiles for seconds

    # Its spectral start needs more clips than dimensions by some.
    start = "spectral" if len(components) > 10 else "random"
    with warnings.catch_warnings():
        # That a seed costs it its threads.
        warnings.simplefilter("ignore")
        fitted = UMAP(n_neighbors=min(15, len(components) - 1), init=start, random_state=seed)
        return fitted.fit_transform(components)


_MAPS = {"pca": _pca, "tsne": _tsne, "umap": _umap}
