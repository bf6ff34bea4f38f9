"""What a recipe may ask for beside the figures: the judged clips under noise and the like, and a map of them.

Both ask the model that was saved, as whoever loads it will.
"""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from .audio import prepare
from .evaluation.judged import of_rows
from .judging.hearing import Listener
from .judging.label_words import Meaning
from .judging.views import embeddings_map, robustness_of
from .material import Material
from .models.preparation import Preparation
from .prediction.expert import load_expert
from .run_folder import RunFolder
from .sections import Recipe


def extras(
    recipe: Recipe, material: Material, rows: Sequence[int], folder: RunFolder
) -> tuple[dict[str, Any], pa.Table | None]:
    """The report's `embeddings` and `robustness` as far as they are asked for, and the places of clips on the map.

    Args:
        rows: of the judged part.
    """
    asked = recipe.evaluation
    if not (asked.embeddings or asked.robustness):
        return {}, None
    expert = load_expert(folder.model)
    own = expert.labels
    listener = Listener(expert, Meaning(own, own, own), asked.window)
    chosen = material.dataset.select(list(rows))
    chosen, store = prepare(chosen, material.store.sampling_rate, recipe.audio.cache_dir, expert.preparation)
    shares, vectors = listener.answers(store, chosen["id"][:], vectors=asked.embeddings)
    judged = of_rows(chosen, range(len(chosen)), shares)
    found, points = {}, None
    if asked.embeddings:
        found["embeddings"], points = embeddings_map(judged, vectors)
    if asked.robustness:
        if expert.preparation != Preparation():  # conditions change recordings, before anything is done to them
            _, store = prepare(chosen, material.store.sampling_rate, recipe.audio.cache_dir, Preparation())
        found["robustness"] = robustness_of(listener, judged, store, **asked.bootstrapping)
    return found, points
