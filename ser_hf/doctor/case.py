"""The data that checks share, each loaded when the first check needs it."""

import dataclasses
import functools
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from datasets import Dataset

from ..audio import WaveformStore, prepare
from ..audio.build_store import segments_of_rows
from ..audio.segment_reader import decode_segment
from ..corpora import Corpus
from ..corpora.schema import Clip
from ..evaluation.tasks import TASKS, Task
from ..experiment.context import RunContext
from ..experiment.data import ExperimentData, data_of_corpus
from ..experiment.recipe import Recipe
from ..inspection.measure import AudioFile, measure_decoded
from ..protocols import Split, split_by
from ..utils.order import in_order
from ..utils.run_folder import RunFolder

# At most so many clips are decoded to measure their levels.
MEASURED_CLIPS = 400


@dataclasses.dataclass(frozen=True)
class Case:
    """A recipe and what its checks measure.

    Args:
        corpus: the corpus of the recipe.
        folder: a folder for files that the Trainer needs; no run is written.
        seconds: the longest time of a short training.
    """

    recipe: Recipe
    corpus: Corpus
    folder: Path
    seconds: float

    @property
    def task(self) -> Task:
        """The task of the recipe."""
        return TASKS[self.recipe.task]

    @functools.cached_property
    def dataset(self) -> Dataset:
        """The rows of the recipe's corpus, without auxiliary corpora."""
        if not self.corpus.auxiliary:
            return self.corpus.dataset
        return self.corpus.dataset.select(self.corpus.main_rows)

    @functools.cached_property
    def store(self) -> WaveformStore:
        """The clips of `dataset` as recorded, at the rate of the recipe.

        Raises:
            AudioError: if files cannot be decoded.
        """
        audio = self.recipe.audio
        _, store = prepare(self.dataset, audio.sampling_rate, audio.cache_dir)
        return store

    @functools.cached_property
    def measured_files(self) -> list[AudioFile]:
        """A random sample of the clips, decoded at their original rate and measured."""
        rows = list(range(len(self.dataset)))
        if len(rows) > MEASURED_CLIPS:
            rows = sorted(random.Random(0).sample(rows, MEASURED_CLIPS))
        return measure_rows(self.dataset.select(rows), label_names_of(self.dataset, rows))

    @functools.cached_property
    def splits(self) -> list[Split]:
        """The splits of the protocol, before their audit.

        Raises:
            UserError: if the corpus cannot be split in this way.
        """
        return split_by(self.dataset, self.recipe.protocol)

    @functools.cached_property
    def data(self) -> ExperimentData:
        """The data of a run, after the audit of its splits.

        Raises:
            UserError: if the splits share what the protocol keeps apart.
        """
        return data_of_corpus(self.recipe, self.corpus)

    @property
    def has_data(self) -> bool:
        """Whether `data` has been loaded without an error."""
        return "data" in vars(self)

    @functools.cached_property
    def run(self) -> RunContext:
        """The first training of the recipe, in a temporary folder."""
        recipe = self.recipe.replace(output_dir=str(self.folder))
        return RunContext(recipe, self.data, self.data.folds[:1], RunFolder(recipe.output_dir))


def label_names_of(dataset: Dataset, rows: Sequence[int]) -> list[str]:
    """The name of the label of each row; an empty text for a clip without a label."""
    names = dataset.features["label"].names
    labels = np.asarray(dataset["label"][:])[rows].tolist()
    return [names[label] if label >= 0 else "" for label in labels]


def measure_rows(dataset: Dataset, label_names: Sequence[str]) -> list[AudioFile]:
    """Decode and measure the clips of a dataset, on threads; `label_names` are their labels."""
    # This import loads torch; it is here so that the threads do not import it at the same time.
    from ..models import preparation  # noqa: F401

    clips = zip(
        dataset["audio"][:],
        segments_of_rows(dataset),
        dataset["id"][:],
        dataset["speaker"][:],
        dataset["sex"][:],
        label_names,
        strict=True,
    )

    def measured(clip: tuple) -> AudioFile:
        audio, segment, clip_id, speaker, sex, label = clip
        decoded = decode_segment(audio["path"], segment, audio.get("bytes"))
        described = Clip(path=audio["path"], emotion=label, speaker=speaker, id=clip_id, sex=sex)
        measurement = measure_decoded(decoded)
        return AudioFile(audio["path"], clip_id, role="clip", clip=described, measured=measurement)

    return list(in_order(measured, clips))
