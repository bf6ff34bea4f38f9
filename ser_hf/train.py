"""From one recipe to a judged, carded model.

accelerate launch -m ser_hf.train recipes/quickstart.yaml
python -m ser_hf.train recipes/ravdess_crnn.yaml corpus.root=data/RAVDESS training.num_train_epochs=40
torchrun --nproc_per_node 2 -m ser_hf.train recipes/cremad_full.yaml
"""

import argparse
import logging
import os
import select
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .utils.environment import freed_memory_kept
from .utils.errors import UserError
from .utils.logs import PACKAGE, TerminalHandler

if TYPE_CHECKING:
    from .experiment.run import Watch
    from .report.report import Report

INTERRUPTED = "; --resume goes on from the last checkpoint"


def run_recipe(
    recipe: str | Path | Mapping[str, Any],
    overrides: Iterable[str] = (),
    *,
    resume: bool = False,
    overwrite: bool = False,
    watch: "Watch | None" = None,
) -> dict[str, Any]:
    """Runs a recipe (a YAML file or a mapping) and returns its report, which `output_dir` then holds; with `hub.repo`
    the run is published at its end, and once more by `resume` where that failed.

    Args:
        overrides: such as ``"training.learning_rate=3e-4"``.
        resume: continue an interrupted run of the same recipe in its folder.
        overwrite: replace the run in the folder.
        watch: hears of every validation, and may end the run by what it raises: `ser_hf.experiment.run.Watch`.

    Raises:
        UserError: naming the recipe key, file or folder that is wrong, and what to do.
    """
    # Imported late: `--help` must not wait for torch.
    from .experiment.recipe_checks import read_recipe
    from .experiment.run import run

    read = read_recipe(recipe, overrides)
    publishing = read.hub.repo is not None and os.environ.get("RANK", "0") == "0"
    if publishing:
        from .hub.push import whole_name

        whole_name(read.hub.repo, key="hub.repo")  # who may not write there should know before hours of training
    with freed_memory_kept():
        report = run(read, resume=resume, overwrite=overwrite, watch=watch)
    if publishing:
        from .hub.publish import publish_as_told

        published = publish_as_told(read.output_dir, read.hub)
        logging.getLogger(__name__).info("%s", published)
    return report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", help="YAML file; recipes/ holds examples")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="replaces a value of the recipe")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--resume", action="store_true", help="continue the run in output_dir where it stopped")
    existing.add_argument("--overwrite", action="store_true", help="replace the run in output_dir")


def train(options: argparse.Namespace) -> None:
    """Runs the parsed command and prints the closing summary."""
    report = run_recipe(options.recipe, options.overrides, resume=options.resume, overwrite=options.overwrite)
    if os.environ.get("RANK", "0") == "0":
        from .report.report import Report

        print(summary(Report.from_dict(report)))


def summary(report: "Report") -> str:
    """Headline score with its interval, protocol and leak, foil, where the files are and how to load the model."""
    from .report.text import confidence, evaluated_speakers

    metrics, protocol, (low, high) = report.metrics, report.protocol, report.intervals["uar"]
    runs = f", mean of {len(report.seeds)} seeds" if report.seeds else ""
    if protocol.folds:
        runs = f", mean of {len(protocol.folds)} folds, standard deviation {report.deviations['uar']:.3f}"
    lines = [
        "",
        f"{report.name}: UAR {metrics['uar']:.3f} on {evaluated_speakers(report)} "
        f"({confidence(report)} interval {low:.3f} to {high:.3f}{runs})",
        f"  macro-F1 {metrics['macro_f1']:.3f}, WA {metrics['wa']:.3f}, weighted F1 {metrics['weighted_f1']:.3f}",
    ]
    if report.pooled:
        pooled = report.pooled.metrics
        lines.append(f"  pooled predictions of all folds: UAR {pooled['uar']:.3f}, macro-F1 {pooled['macro_f1']:.3f}")
    lines.append(f"  protocol {protocol.name}, sha256 {protocol.sha256[:16]}")
    if protocol.leak:
        lines.append(f"    LEAKY: {protocol.leak}")
    for part, split in protocol.parts.items():
        listed = f" ({', '.join(split.speakers)})" if len(split.speakers) <= 8 else ""
        lines.append(f"    {part}: {split.clips} clips, speakers: {len(split.speakers)}{listed}")
    if foil := report.foil:
        lines.append(
            f"  foil: under the leaky protocol {foil.protocol} the same recipe reaches UAR "
            f"{foil.metrics['uar']:.3f} ({foil.gap['uar']:+.3f})"
        )
    lines += [f"  note: {note}" for note in [*protocol.notes, *report.warnings]]
    trust = ", trust_remote_code=True" if report.model.remote_code else ""
    lines += [
        f"  report {report.output_dir}/report/report.json",
        f'  load it: pipeline("audio-classification", model="{report.output_dir}/model"{trust})',
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None, prog: str = "python -m ser_hf.train") -> int:
    """The command line of one verb; the exit code is 0, or 2 for a mistake of the user's, told in one line."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__.partition("\n")[0], epilog=f"example: {prog} recipes/quickstart.yaml"
    )
    add_arguments(parser)
    return guarded(train, parser.parse_intermixed_args(arguments), INTERRUPTED)


def guarded(command, options: argparse.Namespace, interrupted: str = "") -> int:
    """Runs a command with log lines on the terminal, a user's mistake as one line and exit code 2."""
    if os.environ.get("RANK", "0") == "0" and not PACKAGE.handlers:
        PACKAGE.setLevel(logging.INFO)
        PACKAGE.addHandler(TerminalHandler())
    try:
        with freed_memory_kept():
            command(options)
        sys.stdout.flush()
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")  # in one piece, as other processes may write too
        return 2
    except KeyboardInterrupt:
        print(f"interrupted{interrupted}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        if not _unread():
            raise
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.filename is not None or not _unwritable():
            raise
        sys.stderr.write(f"error: the output cannot be written: {error.strerror}\n")
        return 2
    return 0


def _unread() -> bool:
    """Whether nobody reads the output any more, as after `| head`; what is left of it is thrown away then."""
    polled = select.poll()
    polled.register(sys.stdout.fileno(), select.POLLOUT)
    if not any(event & select.POLLERR for _, event in polled.poll(0)):
        return False
    _throw_away()
    return True


def _unwritable() -> bool:
    """Whether it is the output that takes no more, as on a full disk; what is left of it is thrown away then."""
    try:
        sys.stdout.flush()
        print(flush=True)  # where nothing is buffered, nothing is left to flush
    except OSError:
        _throw_away()
        return True
    return False


def _throw_away() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes at its end


if __name__ == "__main__":
    sys.exit(main())
