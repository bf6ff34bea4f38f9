"""The judgement of each corpus of a mixture by itself: where labels of corpora collide, its confusions show it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .intervals import is_unknown
from .metrics import classification_metrics, confusion, per_class

# Of a class's clips, the share that another class must take to be named.
NAMED = 0.2


def by_corpus(
    corpora: Sequence[str],
    speakers: Sequence[str],
    labels: np.ndarray,
    predictions: np.ndarray,
    names: Sequence[str],
) -> dict[str, dict[str, Any]]:
    """{corpus: {clips, speakers, metrics, per_class, confusion, collisions}}; empty where there is one corpus only.

    Metrics run over the classes that a corpus has. Its confusion is over all classes, counts as `confusion` gives
    them: what is called by a label that the corpus does not know stands in that column. `collisions` names, of each
    class, the other one that most of its clips are taken for, where those are a share of `NAMED` or more:
    {label, taken_for, share, foreign}, `foreign` where the corpus has no such label; the largest share first.

    Args:
        corpora, speakers, labels: of each clip, (clips,).
        predictions: (runs, clips) for several runs on the same clips: metrics are their mean, confusions their sum.
    """
    of, spoken = np.asarray(corpora), np.asarray(speakers, object)
    found = sorted(set(corpora))
    judged = {}
    for corpus in found if len(found) > 1 else ():
        own = of == corpus
        true, runs = labels[own], predictions[:, own]
        measured = [classification_metrics(true, run, len(names)) for run in runs]
        pooled = np.tile(true, len(runs)), runs.ravel()
        classes = per_class(*pooled, names)
        counts = confusion(*pooled, len(names))
        judged[corpus] = {
            "clips": int(own.sum()),
            "speakers": len({name for name in spoken[own].tolist() if not is_unknown(name)}),
            "metrics": {name: float(np.mean([one[name] for one in measured])) for name in measured[0]},
            # Pooling the runs repeats each clip; what is reported is how many there are.
            "per_class": {
                name: row | {"support": row["support"] // len(runs)} for name, row in classes.items() if row["support"]
            },
            "confusion": counts,
            "collisions": _collisions(np.asarray(counts), names),
        }
    return judged


def _collisions(counts: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    clips = counts.sum(axis=1)
    found = []
    for label in np.flatnonzero(clips):
        others = counts[label].copy()
        others[label] = 0
        taken = int(others.argmax())
        share = float(others[taken] / clips[label])
        if share >= NAMED:
            foreign = not clips[taken]
            found.append({"label": names[label], "taken_for": names[taken], "share": share, "foreign": foreign})
    return sorted(found, key=lambda one: -one["share"])
