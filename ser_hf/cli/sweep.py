"""ser-hf sweep: many runs of one recipe with other values of some keys, selected on validation."""

import argparse
import functools

EXAMPLE = (
    "ser-hf sweep recipes/cremad_full.yaml recipes/sweeps/cremad_wav2vec2.yaml corpus.root=data/CREMA-D --trials 60"
)
INTERRUPTED = "; the same command continues the trial that was running"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", help="YAML file; recipes/ holds examples")
    parser.add_argument("space", help="YAML file of the search space; recipes/sweeps/ holds an example")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="replaces a value of the recipe")
    parser.add_argument("--output", metavar="DIR", help="the sweep's folder (default: runs/RECIPE-SPACE); resumable")
    parser.add_argument("--trials", type=int, metavar="N", help="how many in total, in place of the space's")
    parser.add_argument(
        "--storage",
        metavar="URL",
        help="a database for Optuna, such as postgresql://..., which several processes and machines with the same "
        "--output share (default: a file in the folder, for one process)",
    )
    parser.add_argument("--no-test", action="store_true", help="write the best recipe without running it")
    parser.add_argument("--keep-models", action="store_true", help="keep the weights of all trials, not the best's")
    parser.add_argument(
        "--failed",
        choices=("again", "pass"),
        help="repeat all failed trials, or continue however many fail (default: three in a row stop the sweep)",
    )
    parser.add_argument(
        "--backend", choices=("local", "ray"), default="local", help="local: this process; ray: a Ray cluster"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="ray: trials at a time (default: one a GPU, or one)")
    parser.add_argument("--gpus", type=float, metavar="X", help="ray: GPUs of each trial (default: one, if any)")


def run(options: argparse.Namespace) -> None:
    """Runs the trials that remain; prints a line after each trial and the best at the end."""
    from ..utils.errors import UserError

    for name in ("workers", "gpus"):
        value = getattr(options, name)
        if value is not None and options.backend != "ray":
            raise UserError(f"--{name}: belongs to --backend ray; otherwise start several processes, with --storage")
        if value is not None and value < (1 if name == "workers" else 0):
            raise UserError(f"--{name}: expected {'one' if name == 'workers' else 'zero'} or more, got {value}")
    # Imported late: `--help` must not wait for these.
    from ..sweeps import sweep

    sweep(
        options.recipe,
        options.space,
        options.overrides,
        output=options.output,
        trials=options.trials,
        storage=options.storage,
        test=not options.no_test,
        keep_models=options.keep_models,
        failed=options.failed,
        backend=options.backend,
        workers=options.workers,
        gpus=options.gpus,
        echo=functools.partial(print, flush=True),  # other processes may write to the same terminal or file
    )
