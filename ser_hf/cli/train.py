"""ser-hf train, recipes and schema: run a recipe, list recipes, print their JSON schema."""

import logging
import os
import shutil
import textwrap
from typing import Annotated

from typer import Argument, Option

from ..train import run_recipe
from ..utils.processes import launched_alone
from .first_checks import announce, require_free_run_folder
from .options import (
    CpusPerJob,
    GpusPerJob,
    JobsOption,
    Json,
    NoAudio,
    Overrides,
    Overwrite,
    RecipeFile,
    Resume,
    SlurmOptions,
    as_json,
    jobs_of,
    require_one_of,
)
from .shell_completion import complete_built_in_recipe

logger = logging.getLogger(__name__)


def train(
    recipe: RecipeFile,
    overrides: Overrides = None,
    output: Annotated[
        str | None, Option(metavar="DIR", help="The recipe's output_dir.  [default: runs/NAME]")
    ] = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Check it and show what it needs; train nothing.")
    ] = False,
    no_audio: NoAudio = False,
    jobs: JobsOption = None,
    cpus_per_job: CpusPerJob = None,
    gpus_per_job: GpusPerJob = None,
    slurm: SlurmOptions = None,
    json: Json = False,
) -> None:
    """Train and evaluate a model as a recipe describes.

    Writes the model with its card and a report.

    Example: ser-hf train quickstart training.num_train_epochs=5
    """
    require_one_of(resume=resume, overwrite=overwrite)
    require_one_of(json=json, dry_run=dry_run)
    side_by_side = jobs_of(jobs, cpus_per_job, gpus_per_job, slurm)
    changes = list(overrides or ())
    if output:
        changes.append(f"output_dir={output}")
    if no_audio:
        changes.append("evaluation.audio=false")
    from ..experiment.recipe_source import recipe_file, recipe_values

    if os.path.isfile(recipe_file(recipe)):
        output_dir = recipe_values(recipe, changes)["output_dir"]
        if not resume and not dry_run:
            require_free_run_folder(output_dir, overwrite)
        announce(recipe)
    if launched_alone():
        logger.warning(
            "accelerate launch started one process: without a GPU it ignores --num_processes; use "
            "torchrun --nproc_per_node N -m ser_hf.train RECIPE, or recipes/accelerate/cpu.yaml"
        )
    if dry_run:
        from ..experiment.reading import read_recipe

        # Mistakes are reported before libraries are loaded, which takes seconds.
        checked_recipe = read_recipe(recipe, changes)
        from ..experiment.plan import plan_run

        print(plan_run(checked_recipe))
        return
    report = run_recipe(
        recipe,
        changes,
        resume=resume,
        overwrite=overwrite,
        jobs=side_by_side,
    )
    if os.environ.get("RANK", "0") == "0":
        from ..report.terminal import train_summary

        print(as_json(report.to_dict()) if json else train_summary(report))


def recipes(
    name: Annotated[
        str | None,
        Argument(metavar="NAME", help="Print this one.", autocompletion=complete_built_in_recipe),
    ] = None,
) -> None:
    """List the recipes that come with the package, or print one.

    Example: ser-hf recipes quickstart > my.yaml
    """
    from ..experiment.recipe_source import built_in_recipes, recipe_file

    if name is not None:
        print(recipe_file(name).read_text(encoding="utf-8"), end="")
        return
    columns = shutil.get_terminal_size().columns
    files = built_in_recipes()
    width = max(map(len, files)) + 2
    for key, file in files.items():
        about = file.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        print(
            textwrap.fill(
                about, columns, initial_indent=key.ljust(width), subsequent_indent=" " * width
            )
        )


def schema() -> None:
    """Print the JSON schema of recipes.

    Editors complete and check recipes by it.

    Example: ser-hf schema > recipe.schema.json
    """
    from ..experiment.schema import recipe_schema

    print(as_json(recipe_schema()))
