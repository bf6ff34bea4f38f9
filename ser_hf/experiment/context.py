"""The context of a run, which its steps share: recipe, data, folds, folder, and the settings that
follow from them.
"""

import contextlib
import dataclasses
import datetime
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import TrainerCallback

from ..evaluation.tasks import TASKS, Task
from ..report.report import Report
from ..training.arguments import EmotionTrainingArguments, training_arguments
from ..training.balancing import balanced
from ..training.clips import clip_table, window_notes
from ..training.freezing import Freezing
from ..training.lora import Lora
from ..training.sampling import epoch_labels
from ..utils.environment import environment
from ..utils.run_folder import RunFolder
from .data import ExperimentData, Fold
from .recipe import Recipe

# Called after every validation of the Trainer (scikit-learn has none) with the run's place below
# the outermost folder (such as ("fold-1", "seed-2"), or ()), the epoch and the metrics.
Watch = Callable[[tuple[str, ...], float, dict[str, float]], None]


def arguments_for(
    recipe: Recipe, folder: RunFolder, padding_safe: bool = True
) -> EmotionTrainingArguments:
    """The arguments of the Trainer for the first seed of a recipe."""
    training, average = recipe.training, recipe.training.average
    same = ("precision", "deterministic", "head_learning_rate", "layer_decay")
    return training_arguments(
        training.arguments,
        folder.checkpoints,
        training.seeds[0],
        metric=training.early_stopping.metric,
        selecting_evaluations=training.early_stopping.evaluations,
        padding_safe=padding_safe,
        progress=sys.stderr.isatty(),
        average=average.kind,
        average_decay=average.decay,
        **{key: getattr(training, key) for key in same},
    )


@dataclasses.dataclass(frozen=True)
class RunContext:
    """A recipe on its data, in a folder; a single training has one fold. `foil` is the leaky
    protocol's report.
    """

    recipe: Recipe
    data: ExperimentData
    folds: list[Fold]
    folder: RunFolder
    resume: bool = False
    foil: Report | None = None
    watch: Watch | None = None
    callbacks: Sequence[TrainerCallback] = ()

    def child(
        self, name: str, recipe: Recipe, folds: list[Fold], watch: Watch | None
    ) -> "RunContext":
        """The context of a run in the folder `name` below this one."""
        folder = self.folder.child(name)
        recipe = dataclasses.replace(recipe, output_dir=str(folder.path))
        return dataclasses.replace(
            self, recipe=recipe, folds=folds, folder=folder, foil=None, watch=watch
        )

    @property
    def task(self) -> Task:
        return TASKS[self.recipe.task]

    @property
    def fold(self) -> Fold:
        return self.folds[0]

    @property
    def test_rows(self) -> list[int]:
        """The rows of the evaluated split."""
        return self.fold.split.rows[self.recipe.evaluation.part]

    @property
    def freezing(self) -> Freezing:
        return Freezing(**self.recipe.freeze.freezing)

    @property
    def lora(self) -> Lora | None:
        lora = self.recipe.lora
        return None if lora.rank is None else Lora(**dataclasses.asdict(lora))

    @property
    def resampled(self) -> bool:
        """Whether the weights of corpora or `training.balance` decide how often an epoch contains a
        clip.
        """
        return self.recipe.training.balance is not None or any(
            weight != 1 for weight in self.data.weights.values()
        )

    @property
    def window(self) -> int | None:
        """Samples of the longest window in evaluation: the recipe's, or the longest that the model
        can process.
        """
        seconds = self.recipe.evaluation.window
        limits = (
            seconds and round(seconds * self.data.store.sampling_rate),
            self.data.plan.longest_clip,
        )
        return min((samples for samples in limits if samples), default=None)

    def arguments(self) -> EmotionTrainingArguments:
        return arguments_for(self.recipe, self.folder, self.data.plan.padding_safe)

    @contextlib.contextmanager
    def main_process_first(self) -> Iterator[bool]:
        """Yield whether this is the main process, which writes; the others wait until it has."""
        arguments = self.arguments()
        with arguments.main_process_first(local=False):
            yield arguments.process_index == 0

    def resolved_recipe(self) -> dict[str, Any]:
        """The recipe as saved in the run's folder, with date, versions and git revision."""
        found = environment()
        now = datetime.datetime.now(datetime.UTC)
        provenance = {key: found[key] for key in ("versions", "git_revision")}
        provenance["created"] = now.isoformat(timespec="seconds")
        return dataclasses.replace(self.recipe, provenance=provenance).to_dict()

    def clips(self, name: str) -> Dataset:
        """The clips of a split for evaluation: complete, in windows where they are too long."""
        return clip_table(
            self.data.dataset, self.fold.split.rows[name], self.data.store, window=self.window
        )

    @property
    def train_rows(self) -> list[int]:
        """The rows for training: for scikit-learn those of the validation split too, unless they
        are evaluated.
        """
        rows = self.fold.split.rows
        recipe = self.recipe
        both = recipe.training.solver == "sklearn" and recipe.evaluation.part == "test"
        return rows["train"] + rows["validation"] * both

    def train_clips(self) -> Dataset:
        """The training clips: cropped, soft-labeled or balanced for the Trainer; as in evaluation
        for scikit-learn.
        """
        recipe = self.recipe
        data = self.data
        if recipe.training.solver == "sklearn":
            return clip_table(data.dataset, self.train_rows, data.store, window=self.window)
        longest = data.plan.longest_clip
        limits = [recipe.audio.max_duration, longest and longest / data.store.sampling_rate]
        limit = min((seconds for seconds in limits if seconds), default=None)
        clips = clip_table(
            data.dataset, self.train_rows, data.store, limit, recipe.training.loss.soft_labels
        )
        seed = recipe.training.seeds[0]
        if self.resampled:
            corpora = data.dataset["corpus"][:]
            speakers = data.dataset["speaker"][:]
            return balanced(clips, corpora, speakers, data.weights, recipe.training.balance, seed)
        return clips

    def train_labels(self, clips: Dataset) -> list[int]:
        """The labels from which class weights and priors are computed; with balancing, those of one
        epoch.
        """
        if self.resampled:
            return epoch_labels(clips)
        return np.asarray(self.data.dataset["label"][:])[self.train_rows].tolist()

    def window_notes(self) -> list[str]:
        """Notes about clips that evaluation splits into windows or pads."""
        evaluated = self.recipe.evaluation.part
        plan = self.data.plan
        rate = self.data.store.sampling_rate
        limits = self.window, plan.longest_clip, plan.shortest_clip
        return [
            f"{sentence}."
            for sentence in window_notes(evaluated, self.clips(evaluated), rate, *limits)
        ]
