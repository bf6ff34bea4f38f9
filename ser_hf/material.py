"""What every seed of a run shares, gathered as the recipe says: cheap checks first, decoding after them."""

import dataclasses
import logging
import time
from typing import Any

from datasets import Dataset

from .audio import WaveformStore, prepare
from .corpora import load_corpus
from .protocols import PROTOCOLS, Split, audit
from .recipe import Recipe
from .training.build import Blueprint, blueprint

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Material:
    """Prepared clips, their waveforms, the split with its audit, the model's plan, and how long it all took."""

    dataset: Dataset
    store: WaveformStore
    split: Split
    audit: dict[str, Any]
    plan: Blueprint
    seconds: dict[str, float]

    @property
    def labels(self) -> list[str]:
        return self.dataset.features["label"].names


def gather(recipe: Recipe) -> Material:
    """Loads and splits the corpus, plans the model, prepares the waveforms, audits the split: cheap checks first."""
    corpus, audio, protocol, model = recipe.corpus, recipe.audio, recipe.protocol, recipe.model
    began = time.perf_counter()
    dataset = load_corpus(
        corpus.name,
        corpus.root,
        labels=corpus.labels,
        merge=corpus.merge,
        drop=corpus.drop,
        on_unknown=corpus.on_unknown,
        sampling_rate=audio.sampling_rate,
        **corpus.options,
    )
    split = PROTOCOLS[protocol.name](dataset, protocol.train, protocol.validation, protocol.test, protocol.seed)
    plan = blueprint(
        model.architecture,
        dataset.features["label"].names,
        sampling_rate=audio.sampling_rate,
        normalize=audio.normalize,
        checkpoint=model.checkpoint,
        random_init=model.random_init,
        weighted_layer_sum=model.weighted_layer_sum,
        options=model.options,
    )
    dataset, store = prepare(dataset, audio.sampling_rate, audio.cache_dir)
    audited = audit(split, dataset)
    logger.info("%s", split.table(dataset))
    if not plan.padding_safe:
        logger.info("padding changes the answers of %s: evaluated one clip at a time", plan.config.model_type)
    return Material(dataset, store, split, audited, plan, {"preparation": time.perf_counter() - began})
