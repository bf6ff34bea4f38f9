"""Runs one recipe: from a corpus to an evaluated, documented and, if wanted, published model.

accelerate launch -m ser_hf.train recipes/quickstart.yaml
python -m ser_hf.train recipes/ravdess_crnn.yaml corpus.root=data/RAVDESS
torchrun --nproc_per_node 2 -m ser_hf.train recipes/cremad_full.yaml
"""

import logging
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .utils.environment import freed_memory_kept, shown_in_notebook

if TYPE_CHECKING:
    from transformers import TrainerCallback

    from .experiment.context import Watch
    from .report.report import Report
    from .utils.executor import Jobs


def run_recipe(
    recipe: str | Path | Mapping[str, Any],
    overrides: Iterable[str] = (),
    *,
    resume: bool = False,
    overwrite: bool = False,
    watch: "Watch | None" = None,
    callbacks: "Sequence[TrainerCallback]" = (),
    jobs: "Jobs | int | str | None" = None,
) -> "Report":
    """Run a recipe: training, evaluation, report and model card, in the recipe's `output_dir`.

    With `hub.repo` the run is then published. If only that failed, `resume` publishes again.
    Example: `ser_hf.run_recipe("quickstart", ["output_dir=runs/a"]).metrics["uar"]`

    Args:
        recipe: a YAML file or a mapping.
        overrides: such as ``"training.learning_rate=3e-4"``.
        resume: continue an interrupted run of the same recipe in its folder.
        overwrite: replace the run in the folder.
        callbacks: of transformers, for the Trainer of every fold and seed; scikit-learn's solver
            has none.
        watch: called with every validation; may end the run by raising. See
            `ser_hf.experiment.context.Watch`.
        jobs: train folds and seeds side by side: a number of processes, ``auto``, ``ray``,
            ``slurm``, or an object with further options. None trains one after another in this
            process.

    Returns:
        The report, as saved in report/report.json.

    Raises:
        UserError: naming the recipe key, file or folder that is wrong, and what to do.
    """
    # Imports take seconds, and each step needs more of them: mistakes are reported before that.
    from .experiment.recipe_source import recipe_values
    from .utils.executor import Jobs

    jobs = Jobs.of(jobs)
    values = recipe_values(recipe, overrides)

    from .experiment.reading import read_recipe

    checked_recipe = read_recipe(values)

    from .experiment.run import run

    hub = checked_recipe.hub
    is_main_process = os.environ.get("RANK", "0") == "0"
    publishes = hub.repo is not None and is_main_process
    if publishes:
        from .hub.eval_results import Benchmark
        from .hub.push import resolve_repo_id

        # A wrong name and missing write access are reported before hours of training.
        if hub.benchmark is not None:
            Benchmark.from_text(hub.benchmark)
        resolve_repo_id(hub.repo, key="hub.repo")

    with freed_memory_kept(), shown_in_notebook():
        report = run(
            checked_recipe,
            resume=resume,
            overwrite=overwrite,
            watch=watch,
            callbacks=callbacks,
            jobs=jobs,
        )

    if publishes:
        from .hub.publish import publish

        published = publish(checked_recipe.output_dir, **hub.publication)
        logging.getLogger(__name__).info("%s", published)
    return report


if __name__ == "__main__":
    from .cli import main

    sys.exit(main(["train", *sys.argv[1:]]))
