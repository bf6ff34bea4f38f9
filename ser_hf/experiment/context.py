"""The context of a run, which its steps share: recipe, data, folds, folder, and what follows."""

import contextlib
import dataclasses
import datetime
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from transformers import TrainerCallback

from ..evaluation.tasks import TASKS, Task
from ..report.report import Report
from ..training.arguments import EmotionTrainingArguments, training_arguments
from ..training.freezing import Freezing
from ..training.lora import Lora
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
        selecting_evaluations=training.early_stopping.evaluations,
        average=training.average.kind,
        average_decay=training.average.decay,
        head_learning_rate=training.head_learning_rate,
        layer_decay=training.layer_decay,
    )


@dataclasses.dataclass(frozen=True)
class RunContext:
    """A recipe on its data, in a folder.

    Args:
        folds: of this run; a single training has one.
        resume: whether an interrupted training continues.
        foil: the report of the leaky protocol, with which this run is compared.
        watch, callbacks: of the Trainer, see `ser_hf.run_recipe`.
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
        recipe = recipe.replace(output_dir=str(folder.path))
        return dataclasses.replace(
            self, recipe=recipe, folds=folds, folder=folder, foil=None, watch=watch
        )

    def on_fold(self, fold: Fold) -> "RunContext":
        """This context with one fold only."""
        return dataclasses.replace(self, folds=[fold])

    @property
    def task(self) -> Task:
        return TASKS[self.recipe.task]

    @property
    def fold(self) -> Fold:
        """The fold of a single training."""
        return self.folds[0]

    @property
    def freezing(self) -> Freezing:
        return Freezing(**self.recipe.freeze.freezing)

    @property
    def lora(self) -> Lora | None:
        section = self.recipe.lora
        if section.rank is None:
            return None
        return Lora(**section.model_dump())

    def arguments(self) -> EmotionTrainingArguments:
        """The arguments of the Trainer for the first seed."""
        return arguments_for(self.recipe, self.folder, self.data.plan.padding_safe)

    @contextlib.contextmanager
    def main_process_first(self) -> Iterator[bool]:
        """Yield whether this is the main process, which writes; the others wait until it has."""
        arguments = self.arguments()
        with arguments.main_process_first(local=False):
            yield arguments.process_index == 0

    def resolved_recipe(self) -> dict[str, Any]:
        """The recipe as saved in the run's folder, with date, versions and git revision."""
        machine = environment()
        now = datetime.datetime.now(datetime.UTC)
        provenance = {
            "versions": machine["versions"],
            "git_revision": machine["git_revision"],
            "created": now.isoformat(timespec="seconds"),
        }
        return self.recipe.replace(provenance=provenance).to_dict()
