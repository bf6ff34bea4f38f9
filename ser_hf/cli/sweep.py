"""ser-hf sweep: runs of one recipe with different values of some keys, selected on validation."""

import functools
from typing import Annotated, Literal

from typer import Argument, Option

from ..utils.errors import UserError
from .options import Overrides, RecipeFile


def sweep(
    recipe: RecipeFile,
    space: Annotated[str, Argument(help="YAML file of the search space; see recipes/sweeps/.")],
    overrides: Overrides = None,
    output: Annotated[str | None, Option(metavar="DIR", help="Resumable.  [default: runs/RECIPE-SPACE]")] = None,
    trials: Annotated[int | None, Option(metavar="N", help="In total.  [default: the space's number]")] = None,
    storage: Annotated[
        str | None,
        Option(
            metavar="URL",
            help="A database for Optuna, such as postgresql://..., which several processes and machines with the same "
            "--output share.  [default: a file in the folder, for one process]",
        ),
    ] = None,
    no_test: Annotated[bool, Option("--no-test", help="Write the best recipe without running it.")] = False,
    keep_models: Annotated[bool, Option("--keep-models", help="Keep the weights of all trials.")] = False,
    retry_failed: Annotated[bool, Option("--retry-failed", help="Repeat all failed trials.")] = False,
    backend: Annotated[Literal["local", "ray"], Option(help="This process or a Ray cluster.")] = "local",
    workers: Annotated[
        int | None, Option(metavar="N", min=1, help="ray: trials at a time.  [default: 1 per GPU]")
    ] = None,
    gpus: Annotated[
        float | None, Option(metavar="X", min=0, help="ray: GPUs per trial.  [default: 1, if any]")
    ] = None,
) -> None:
    """Search for the best values of a recipe's keys.

    Runs the recipe many times and selects on validation.

    Example: ser-hf sweep recipes/cremad_full.yaml recipes/sweeps/cremad_wav2vec2.yaml corpus.root=data/CREMA-D
    --trials 60
    """
    for name, value in (("workers", workers), ("gpus", gpus)):
        if value is not None and backend != "ray":
            raise UserError(f"--{name}: needs --backend ray; without Ray start several processes with --storage")
    from ..sweeps import SweepOptions, sweep

    options = SweepOptions(output, trials, storage, not no_test, keep_models, retry_failed, backend, workers, gpus)
    # Other processes may write to the same terminal or file.
    sweep(recipe, space, overrides or [], options, echo=functools.partial(print, flush=True))
