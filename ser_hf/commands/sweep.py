"""ser-hf sweep: many runs of one recipe with other values of some keys, judged on validation."""

import argparse

EXAMPLE = (
    "ser-hf sweep recipes/cremad_full.yaml recipes/sweeps/cremad_wav2vec2.yaml corpus.root=data/CREMA-D --trials 60"
)
INTERRUPTED = "; the same command goes on with the trial that was running"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", help="YAML file; recipes/ holds examples")
    parser.add_argument("space", help="YAML file of what varies; recipes/sweeps/ holds an example")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="replaces a value of the recipe")
    parser.add_argument(
        "--output", metavar="DIR", help="the sweep's folder (default: runs/RECIPE-SPACE); called again, it goes on"
    )
    parser.add_argument("--trials", type=int, metavar="N", help="how many in all, in place of the space's")
    parser.add_argument(
        "--storage",
        metavar="URL",
        help="a database for the trials, such as postgresql://..., for machines without a common folder (default: a "
        "file in the folder, which processes and machines that reach it share)",
    )
    parser.add_argument("--no-test", action="store_true", help="write the best recipe, and do not run it")
    parser.add_argument("--keep-models", action="store_true", help="keep the weights of all trials, not the best's")
    parser.add_argument(
        "--failed",
        choices=("again", "pass"),
        help="trials that failed: try all once more, or leave them and go on however many fail alike (default: those "
        "that failed alike, or by the machine's trouble, are tried once more)",
    )
    parser.add_argument(
        "--take-over",
        action="store_true",
        help="--storage: run anew what folders on other machines were running; those machines must be no more",
    )
    parser.add_argument(
        "--backend",
        choices=("local", "ray"),
        default="local",
        help="local: this process, and any other that is started on the same folder; ray: a Ray cluster",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="ray: trials at a time (default: one a GPU, or one)")
    parser.add_argument("--gpus", type=float, metavar="X", help="ray: GPUs of each trial (default: one, if any)")


def run(options: argparse.Namespace) -> None:
    """Runs what is left of the sweep; prints a line after each trial and the best at the end."""
    from ..errors import UserError

    for name in ("workers", "gpus"):
        value = getattr(options, name)
        if value is not None and options.backend != "ray":
            raise UserError(f"--{name}: belongs to --backend ray; otherwise start the command several times")
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
        take_over=options.take_over,
        backend=options.backend,
        workers=options.workers,
        gpus=options.gpus,
        tell=_tell,
    )


def _tell(line: str) -> None:
    print(line, flush=True)  # other processes may write to the same terminal or file
