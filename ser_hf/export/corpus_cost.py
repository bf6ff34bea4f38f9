"""What a change of a model's file costs on the clips of a corpus: the answers of several files to the same clips."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..audio import prepare
from ..corpora import Corpus
from ..evaluation.metrics import classification_metrics
from ..judging.clips import clips_for
from ..judging.hearing import Listener
from ..judging.label_words import meaning_of
from ..logs import quiet_libraries
from ..prediction.expert import Expert


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one file says of a corpus beside what the first says: UAR and WA of both are told by their own entries;
    `changed` clips get another class, and no probability of a class moves by more than `largest`."""

    uar: float
    wa: float
    changed: int
    largest: float
    clips: int


def corpus_costs(experts: Mapping[str, Expert], corpus: Corpus, **chosen: Any) -> dict[str, Cost]:
    """Costs by the names of the experts, of which the first is what the others are held to.

    Args:
        experts: the same model in several files.
        chosen: which clips judge (`ser_hf.judging.clips.clips_for`); speakers that the model has heard among them, as
            two files of one model are compared and neither is praised.

    Raises:
        UserError: naming what is wrong with the corpus, or if no clip of it has a label of the model.
    """
    first = next(iter(experts.values()))
    meaning = meaning_of(first.labels)
    own = clips_for(corpus, meaning.classes, None, heard=True, **chosen).dataset
    names = own.features["label"].names
    labels = np.array([meaning.classes.index(names[label]) for label in own["label"][:]])
    costs: dict[str, Cost] = {}
    expected = None
    for name, expert in experts.items():
        with quiet_libraries():
            dataset, store = prepare(own, expert.extractor.sampling_rate, None, expert.preparation)
            shares, _ = Listener(expert, meaning, batch_size=1).answers(store, dataset["id"][:])
        expected = shares if expected is None else expected
        predicted = shares.argmax(axis=1)
        figures = classification_metrics(labels, predicted, len(meaning.classes))
        changed = int((predicted != expected.argmax(axis=1)).sum())
        largest = float(np.abs(shares - expected).max())
        costs[name] = Cost(figures["uar"], figures["wa"], changed, largest, len(labels))
    return costs
