"""The context of a run, which all its steps share: recipe, data, folds and folder."""

import contextlib
import dataclasses
import datetime
import functools
import sys
from collections.abc import Callable, Iterator, Sequence

from transformers import TrainerCallback

from ..evaluation.sections import LearningCurve
from ..evaluation.tasks import TASKS, Task
from ..report.report import Report
from ..training.arguments import EmotionTrainingArguments, training_arguments
from ..training.freezing import Freezing
from ..training.lora import Lora
from ..training.targets import TargetLayout
from ..utils.environment import git_revision, package_versions
from ..utils.run_folder import RunFolder
from .data import ExperimentData, Fold
from .recipe import Recipe
from .selection import keeps_last
from .targets import target_layout

# A function that is called after every validation of the Trainer; scikit-learn has no validations.
# Its arguments are the names of the folders from the outermost run to this one (such as
# ("fold-1", "seed-2"), or ()), the epoch and the metrics.
Watch = Callable[[tuple[str, ...], float, dict[str, float]], None]


def arguments_for(
    recipe: Recipe, folder: RunFolder, padding_safe: bool = True
) -> EmotionTrainingArguments:
    """The `TrainingArguments` for the first seed of a recipe."""
    training = recipe.training
    return training_arguments(
        training.arguments,
        folder.checkpoints,
        training.seeds[0],
        metric=training.early_stopping.metric,
        padding_safe=padding_safe,
        progress=sys.stderr.isatty(),
        precision=training.precision,
        deterministic=training.deterministic,
    )


@dataclasses.dataclass(frozen=True)
class RunContext:
    """What one run needs: its recipe, its data and its folder.

    Args:
        folds: the folds of this run; a single training has one fold.
        resume: whether an interrupted training continues.
        foil: the report of the run under the leaky protocol, with which this run is compared.
        curve: the learning curve for the report of this run.
        watch, callbacks: passed to the Trainer, see `ser_hf.run_recipe`.
    """

    recipe: Recipe
    data: ExperimentData
    folds: list[Fold]
    folder: RunFolder
    resume: bool = False
    foil: Report | None = None
    curve: LearningCurve | None = None
    watch: Watch | None = None
    callbacks: Sequence[TrainerCallback] = ()

    def child(
        self, name: str, recipe: Recipe, folds: list[Fold], watch: Watch | None
    ) -> "RunContext":
        """The context of a run in the subfolder `name` of this run's folder."""
        folder = self.folder.child(name)
        recipe = recipe.replace(output_dir=str(folder.path))
        return dataclasses.replace(
            self, recipe=recipe, folds=folds, folder=folder, foil=None, curve=None, watch=watch
        )

    def on_fold(self, fold: Fold) -> "RunContext":
        """This context with `fold` as its only fold."""
        return dataclasses.replace(self, folds=[fold])

    @property
    def task(self) -> Task:
        """The task of the recipe: emotion classes or dimensions."""
        return TASKS[self.recipe.task]

    @functools.cached_property
    def layout(self) -> TargetLayout | None:
        """The layout of the targets; None for a model with a single target."""
        return target_layout(self.recipe, self.data.dataset)

    @property
    def fold(self) -> Fold:
        """The fold of a single training."""
        return self.folds[0]

    @property
    def freezing(self) -> Freezing:
        """The recipe's settings for frozen parts of the model."""
        return self.recipe.freeze.freezing

    @property
    def lora(self) -> Lora | None:
        """The recipe's settings for adapters; None without adapters."""
        section = self.recipe.lora
        if section.rank is None:
            return None
        return Lora(**section.model_dump())

    def arguments(self) -> EmotionTrainingArguments:
        """The `TrainingArguments` for the first seed."""
        arguments = arguments_for(self.recipe, self.folder, self.data.plan.padding_safe)
        arguments.keeps_last = self.keeps_last
        return arguments

    @property
    def keeps_last(self) -> bool:
        """Whether a training of the first fold keeps its last checkpoint, not the best one."""
        return keeps_last(self.recipe.training.early_stopping, self.fold.split)

    @contextlib.contextmanager
    def main_process_first(self) -> Iterator[bool]:
        """Run a block in the main process first; yields whether this process is the main one.

        Other processes wait until the main process has left the block.
        """
        arguments = self.arguments()
        with arguments.main_process_first(local=False):
            yield arguments.process_index == 0

    def resolved_recipe(self) -> Recipe:
        """The recipe as it is saved in the run's folder: with date, versions and git revision."""
        now = datetime.datetime.now(datetime.UTC)
        provenance = {
            "versions": package_versions(),
            "git_revision": git_revision(),
            "created": now.isoformat(timespec="seconds"),
        }
        return self.recipe.replace(provenance=provenance)
