"""What a report shows beside its figures: a map of the clips, and how the model stands noise, rooms and telephones."""

from typing import Any

import numpy as np
import pyarrow as pa

from ..audio.noises import Waveforms
from ..evaluation.judged import Judged
from ..evaluation.projection import FEWEST, available, project, subset
from ..evaluation.robustness import robustness
from .hearing import Listener


def embeddings_map(judged: Judged, vectors: np.ndarray) -> tuple[dict[str, Any] | None, pa.Table | None]:
    """The report's `embeddings`, and the places of the clips by every method that is installed; None for both of clips
    that are too few for a map.

    Args:
        vectors: what the classifier's last layer is given, (clips, size).
    """
    if len(judged) < FEWEST:
        return None, None
    chosen, methods = subset(len(judged)), available()
    places, some = project(vectors[chosen], methods), judged.only(chosen)
    columns: dict[str, Any] = {
        "id": some.ids,
        "label": [some.names[label] for label in some.labels],
        "speaker": some.speakers,
        "corpus": some.columns["corpus"],
    }
    for method, own in places.items():
        columns |= {f"x_{method}": own[:, 0], f"y_{method}": own[:, 1]}
    facts = {
        "methods": methods,
        "clips": len(chosen),
        "points": "embeddings.parquet",
        "of": "what the classifier's last layer is given",
    }
    return facts, pa.table(columns)


def robustness_of(listener: Listener, judged: Judged, store: Waveforms, **settings: Any) -> dict[str, Any]:
    """The report's `robustness` (`ser_hf.evaluation.robustness`, which takes `settings`); `store` holds the clips as
    they were recorded, at the model's rate."""
    told = (judged.ids, judged.labels, judged.speakers, judged.names)
    return robustness(listener, store, *told, rate=listener.rate, **settings)
