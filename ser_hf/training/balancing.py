"""Class balance by over-sampling: rarer classes are met more often, each time augmented anew."""

import numpy as np
from datasets import Dataset


def oversampled(clips: Dataset, seed: int) -> Dataset:
    """The training clips with those of rarer classes repeated until each class has as many as the most frequent one.

    Every clip of a class comes equally often, and what is then lacking is drawn without replacement, by `seed` alone.
    The column `copy` numbers the times that a clip comes, from 0: each copy is augmented and cropped otherwise. Copy 0
    of all clips is the part as it was. Classes are those of `labels`, the majority where labels are soft.

    Args:
        clips: from `ser_hf.training.batches.part`.
    """
    labels, rows, lengths = (np.asarray(clips[name][:]) for name in ("labels", "row", "length"))
    generator = np.random.default_rng(seed)
    most = int(np.bincount(labels).max(initial=0))
    entries = []
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        own = own[np.argsort(rows[own], kind="stable")]  # the draw must not depend on lengths
        rounds, lacking = divmod(most, len(own))
        entries += [(place, copy) for copy in range(rounds) for place in own]
        entries += [(place, rounds) for place in generator.choice(own, lacking, replace=False)]
    places, copies = np.asarray(entries, dtype=np.int64).reshape(-1, 2).T
    order = np.lexsort((copies, places, lengths[places]))  # by length, as a part is
    columns = {name: clips[name][:] for name in clips.column_names}
    repeated = {name: [values[place] for place in places[order]] for name, values in columns.items()}
    return Dataset.from_dict(repeated | {"copy": copies[order]})


def recordings(clips: Dataset) -> Dataset:
    """Each clip of a part once, however often it is learnt from: what statistics are taken of."""
    if "copy" not in clips.column_names:
        return clips
    return clips.select(np.flatnonzero(np.asarray(clips["copy"][:]) == 0))
