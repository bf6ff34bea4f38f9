"""Options that several verbs share, and functions that read `key=value` words."""

import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, Option

from ..utils.errors import UserError
from .shell_completion import (
    complete_corpus_word,
    complete_model,
    complete_override,
    complete_recipe,
)

if TYPE_CHECKING:
    from ..experiment.recipe import Recipe
    from ..utils.executor import Jobs

Model = Annotated[
    str,
    Argument(
        metavar="MODEL",
        help="A run folder, a model folder, a Hub id of any audio classifier, or an ONNX file.",
        autocompletion=complete_model,
    ),
]
RecipeFile = Annotated[
    str,
    Argument(
        metavar="RECIPE",
        help="A YAML file, or a name from `ser-hf recipes`.",
        autocompletion=complete_recipe,
    ),
]
Overrides = Annotated[
    list[str] | None,
    Argument(
        metavar="section.key=value",
        help="Replace a value of the recipe.",
        autocompletion=complete_override,
    ),
]
CorpusWords = Annotated[
    list[str] | None,
    Argument(
        metavar="key=value",
        help="Options of the corpus, or keys of the recipe.",
        autocompletion=complete_corpus_word,
    ),
]
Root = Annotated[
    str | None, Option(metavar="DIR", help="The folder of the corpus; for csv the table.")
]
Window = Annotated[
    float | None,
    Option(metavar="SECONDS", help="Split longer clips.  [default: as in its evaluation]"),
]
Revision = Annotated[
    str | None, Option(metavar="REV", help="Branch, tag or commit of a model on the Hub.")
]
TrustRemoteCode = Annotated[
    bool,
    Option(
        "--trust-remote-code",
        help="Run code from the model's repository; models of ser_hf do not need it.",
    ),
]
Device = Annotated[
    str | None,
    Option(metavar="DEVICE", help="Such as cpu or cuda:1.  [default: the GPU, if there is one]"),
]
LabelNames = Annotated[
    str | None,
    Option(
        metavar="NAMES",
        help="Names of the model's outputs in their order, as angry,happy,...",
    ),
]
Adapt = Annotated[
    Literal["speaker", "folder", "recording"] | None,
    Option(
        help="Adapt to each of them without labels; predictions depend on its other clips "
        "(transductive)."
    ),
]
AdaptFrom = Annotated[
    list[str] | None,
    Option(
        metavar="PATH",
        help="With --adapt: recordings of the model's training corpus.  [default: the statistics "
        "that training saved]",
    ),
]
BatchSize = Annotated[int, Option(metavar="N", help="Windows in a batch.")]
Clips = Annotated[
    list[str] | None, Option(metavar="FILE", help="A recording to compare on; repeatable.")
]
Resume = Annotated[
    bool, Option("--resume", help="Continue the run in the output folder where it stopped.")
]
Overwrite = Annotated[
    bool, Option("--overwrite", help="Replace the run or evaluation in the output folder.")
]
Pictures = Annotated[
    Literal["pdf"] | None,
    Option(help="Also write each picture as PDF, as wide as a column of a paper."),
]
NoAudio = Annotated[bool, Option("--no-audio", help="Leave the recordings out of the page.")]
Json = Annotated[bool, Option("--json", help="Print one JSON object instead of text.")]
JobsOption = Annotated[
    str | None,
    Option(
        "--jobs",
        metavar="N|auto|ray|slurm",
        help="Side by side: in N processes, on a Ray cluster, or as a Slurm array.  [default: one "
        "after another]",
    ),
]
CpusPerJob = Annotated[
    int | None,
    Option(
        metavar="N",
        help="Cores and threads of each.  [default: OMP_NUM_THREADS, or an equal share]",
    ),
]
GpusPerJob = Annotated[
    float | None,
    Option(metavar="X", help="GPUs of each, such as 0.5.  [default: 1, if there are GPUs]"),
]
SlurmOptions = Annotated[
    list[str] | None,
    Option(
        metavar="KEY=VALUE", help="With --jobs slurm: as partition=gpu or time=MINUTES; repeatable."
    ),
]
Private = Annotated[bool, Option("--private", help="New repositories are private.")]


def require_one_of(**given: object) -> None:
    """Refuse two options that contradict each other, such as --resume and --overwrite."""
    if all(given.values()):
        first, second = (name.replace("_", "-") for name in given)
        raise UserError(f"--{first}: contradicts --{second}; give one of the two")


def jobs_of(
    jobs: str | None, cpus: int | None, gpus: float | None, slurm: Sequence[str] | None
) -> "Jobs | None":
    """Read --jobs and its further options; None without --jobs."""
    from ..utils.executor import Jobs

    if jobs is not None:
        return Jobs.read(jobs, cpus=cpus, gpus=gpus, slurm=slurm or ())
    further = {"--cpus-per-job": cpus, "--gpus-per-job": gpus, "--slurm": slurm}
    for key, value in further.items():
        if value:
            raise UserError(f"{key}: has no effect without --jobs")
    return None


def names_of_labels(text: str | None) -> list[str] | None:
    """Read --label-names; None without it."""
    return None if text is None else [name.strip() for name in text.split(",")]


def as_json(content: Any) -> str:
    """Convert a result to the output of --json."""
    return json.dumps(content, indent=1, ensure_ascii=False, default=str)


def exit_on_termination() -> None:
    """Make SIGTERM end the command as Ctrl-C does, so that partial files are removed."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def recipe_path(path: str) -> str:
    """Return the path of a recipe; for a run folder, the path of its recipe.yaml."""
    return os.path.join(path, "recipe.yaml") if os.path.isdir(path) else path


def corpus_recipe(
    corpus: str | None, root: str | None, words: Sequence[str] | None, protocol: str | None = None
) -> "Recipe":
    """Return a recipe that loads one corpus.

    Args:
        words: options of the corpus as ``key=value``, and of the protocol as
            ``protocol.key=value``.
    """
    from ..experiment.reading import read_recipe

    if corpus is None:
        raise UserError(
            "--corpus: missing; name a corpus and its folder (--root), or a recipe (--recipe)"
        )
    values: dict[str, Any] = {
        "name": "evaluation",
        "corpus": {"name": corpus},
        "model": {"architecture": "crnn"},
    }
    if root is not None:
        values["corpus"]["root"] = root
    if protocol is not None:
        values["protocol"] = {"name": protocol}
    overrides = []
    for word in words or ():
        if "=" not in word:
            raise UserError(f"{word}: expected an option of the corpus as key=value")
        key = word if word.startswith(("corpus.", "protocol.")) else f"corpus.{word}"
        overrides.append(key)
    keys = [key.partition("=")[0] for key in overrides]
    if "corpus.targets" in keys:
        values["task"] = "emotions+dimensions" if "corpus.partial" in keys else "dimensions"
    return read_recipe(values, overrides)


def root_or_word(root: str | None, words: Sequence[str] | None) -> tuple[str | None, list[str]]:
    """Separate the folder from the `key=value` words.

    If the command line has no folder, `root` holds the first word.
    """
    if root is not None and "=" in root and not os.path.exists(root):
        return None, [root, *(words or ())]
    return root, list(words or ())
