"""ser-hf sweep: run a recipe with different values of keys, and select on validation."""

import functools
import os
import sys
from typing import Annotated

from typer import Argument, Option

from ..experiment.recipe_source import recipe_file
from ..utils.errors import UserError
from .first_checks import announce
from .options import (
    CpusPerJob,
    GpusPerJob,
    JobsOption,
    Json,
    Overrides,
    RecipeFile,
    SlurmOptions,
    as_json,
    jobs_of,
)


def sweep(
    recipe: RecipeFile,
    space: Annotated[
        str, Argument(metavar="SPACE", help="YAML file of the search space; see recipes/sweeps/.")
    ],
    overrides: Overrides = None,
    output: Annotated[
        str | None, Option(metavar="DIR", help="Its folder.  [default: runs/RECIPE-SPACE]")
    ] = None,
    trials: Annotated[
        int | None, Option(metavar="N", help="In total.  [default: the space's number]")
    ] = None,
    storage: Annotated[
        str | None,
        Option(
            metavar="URL",
            help="A database that several processes share, such as postgresql://...  "
            "[default: a file]",
        ),
    ] = None,
    no_test: Annotated[
        bool, Option("--no-test", help="Write the best recipe without running it.")
    ] = False,
    keep_models: Annotated[
        bool, Option("--keep-models", help="Keep the weights of all trials.")
    ] = False,
    retry_failed: Annotated[
        bool, Option("--retry-failed", help="Repeat all failed trials.")
    ] = False,
    jobs: JobsOption = None,
    cpus_per_job: CpusPerJob = None,
    gpus_per_job: GpusPerJob = None,
    slurm: SlurmOptions = None,
    json: Json = False,
) -> None:
    """Search for the best values of a recipe's keys.

    Runs the recipe many times and selects on validation.

    Example: ser-hf sweep quickstart space.yaml --trials 20
    """
    side_by_side = jobs_of(jobs, cpus_per_job, gpus_per_job, slurm)
    recipe_file(recipe)
    if not os.path.isfile(space):
        raise UserError(f"SPACE: {space}: no such file")
    announce(f"{recipe}, {space}")
    from ..sweeps import SweepOptions, sweep

    options = SweepOptions(
        output=output,
        trials=trials,
        storage=storage,
        test=not no_test,
        keep_models=keep_models,
        retry_failed=retry_failed,
        jobs=side_by_side,
    )
    # Other processes may write to the same terminal or file.
    echo = functools.partial(print, flush=True, file=sys.stderr if json else sys.stdout)
    result = sweep(recipe, space, overrides or [], options, echo=echo)
    if json:
        print(as_json(result.to_dict()))
