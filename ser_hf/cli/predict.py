"""ser-hf predict: labels, probabilities and embeddings of recordings, clip by clip or over time."""

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, Exit, Option

from ..utils.errors import UserError
from .options import (
    BatchSize,
    Corpus,
    CorpusRecipe,
    Device,
    Model,
    Revision,
    Root,
    TrustRemoteCode,
    Window,
    corpus_recipe,
    exit_on_termination,
    recipe_path,
)

if TYPE_CHECKING:
    from datasets import Dataset

    from ..inference.inputs import Recording


def predict(
    model: Model,
    inputs: Annotated[
        list[str] | None,
        Argument(
            metavar="INPUT",
            help="Audio files (WAV, FLAC, MP3, OGG, AIFF, CAF, W64 and what else libsndfile reads), folders, tables "
            "(CSV, TSV) with a column path, or - for standard input; with --corpus or --recipe key=value.",
        ),
    ] = None,
    corpus: Corpus = None,
    root: Root = None,
    recipe: CorpusRecipe = None,
    output: Annotated[
        str | None,
        Option(
            metavar="FILE",
            help="Labels, probabilities and logits: .csv, .jsonl or .parquet; .png or .svg for a --timeline of "
            "one recording.  [default: to standard output]",
        ),
    ] = None,
    format: Annotated[
        Literal["table", "jsonl", "csv"] | None, Option(help="Of standard output.  [default: table]")
    ] = None,
    embeddings: Annotated[
        str | None, Option(metavar="FILE", help="The same with embeddings; ends with .parquet.")
    ] = None,
    window: Window = None,
    by_window: Annotated[bool, Option("--by-window", help="A row for each window, not for each clip.")] = False,
    timeline: Annotated[bool, Option("--timeline", help="Emotion over time, in overlapping windows of 4 s.")] = False,
    hop: Annotated[float | None, Option(metavar="SECONDS", help="Step of the timeline.  [default: half a window]")] = (
        None
    ),
    batch_size: BatchSize = 16,
    on_error: Annotated[
        Literal["error", "skip"], Option(help="End at a file that cannot be read, or leave it out and return 1.")
    ] = "skip",
    device: Device = None,
    revision: Revision = None,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Predict the emotions of recordings.

    Writes labels, probabilities, logits and embeddings, clip by clip or over time.

    Example: ser-hf predict runs/ravdess_crnn --corpus ravdess --root data/RAVDESS --embeddings ravdess.parquet
    """
    from ..inference.classifier import load_classifier
    from ..inference.inputs import NoneReadable
    from ..inference.outputs import to_terminal, writing
    from ..inference.predict import PredictionSettings, predict_tables, table_facts

    settings = PredictionSettings(
        embeddings=embeddings is not None,
        window=window,
        by_window=by_window,
        batch_size=batch_size,
        on_error=on_error,
        timeline=timeline,
        hop=hop,
    )
    files, load = _source(inputs or [], corpus, root, recipe, on_error == "skip")
    paths = _output_files(output, embeddings, timeline, [model, *files])
    skipped, rows = [], 0
    shown = not paths or format is not None
    exit_on_termination()
    try:
        recordings = load()
        if len(recordings) > 1 and _is_picture(paths):
            raise UserError(f"--output: {output} is a picture of one recording, and there are {len(recordings)}")
        classifier = load_classifier(model, revision=revision, device=device, trust_remote_code=trust_remote_code)
        facts = table_facts(classifier, settings)
        with contextlib.ExitStack() as stack:
            writes = [stack.enter_context(writing(path, key, facts.labels)) for key, path in paths.items()]
            if shown:
                writes.append(to_terminal(format or "table", facts.labels))
            for table in predict_tables(classifier, recordings, settings, facts, skipped):
                rows += len(table)
                for write in writes:
                    write(table)
    except NoneReadable as error:
        if on_error == "error":
            raise
        sys.stderr.write(f"error: {error}\n")
        raise Exit(1) from None
    log = sys.stderr if shown else sys.stdout  # predictions alone go to standard output
    if paths or skipped:
        left_out = f", {_count(len(skipped), 'file')} left out" if skipped else ""
        what = "window" if by_window or timeline else "clip"
        print(f"{_count(rows, what)}{left_out}", file=log)
    for key, path in paths.items():
        embedding = f" ({facts.embedding})" if key == "--embeddings" else ""
        print(f"  {key.removeprefix('--')}{embedding}: {path}", file=log)
    if skipped:
        sys.stdout.flush()
        raise Exit(1)


def _output_files(
    output: str | None, embeddings: str | None, timeline: bool, inputs: Sequence[str]
) -> dict[str, Path]:
    """The files to write, by option. Raises a `UserError` for one that may not be written."""
    from ..inference.outputs import PICTURES, check_output, same_file

    kinds = {"--output": (".csv", ".jsonl", ".parquet", *PICTURES), "--embeddings": (".parquet",)}
    given = {"--output": output, "--embeddings": embeddings}
    paths = {key: check_output(path, kinds[key], key, inputs) for key, path in given.items() if path is not None}
    if len(paths) == 2 and same_file(*paths.values()):
        raise UserError(f"--embeddings: {embeddings} is --output too; name another file")
    if _is_picture(paths) and not timeline:
        raise UserError(f"--output: {output} is a picture, which shows a --timeline; add that option")
    return paths


def _is_picture(paths: Mapping[str, Path]) -> bool:
    from ..inference.outputs import PICTURES

    return "--output" in paths and paths["--output"].suffix.lower() in PICTURES


def _source(
    inputs: Sequence[str], corpus: str | None, root: str | None, recipe: str | None, skip: bool
) -> "tuple[list[str], Callable[[], Sequence[Recording] | Dataset]]":
    """The files and folders that the recordings come from, which no output may replace, and how they are loaded."""
    from ..inference.inputs import PIPED, from_paths

    if corpus is not None and recipe is not None:
        raise UserError("--recipe: names its corpus itself; leave out --corpus")
    if corpus is None and recipe is None:
        if root is not None:
            raise UserError("--root: belongs to --corpus or --recipe; name your own folders without it")
        if not inputs:
            raise UserError("INPUT: missing; name audio files, folders or a table, or a corpus with --corpus")
        return [word for word in inputs if word != PIPED], lambda: from_paths(inputs, skip)
    from ..experiment.data import load_recipe_corpus
    from ..experiment.recipe_checks import read_recipe

    if recipe is None:
        files, own = [], corpus_recipe(corpus, root, inputs)
    else:
        files = [recipe_path(recipe)]
        own = read_recipe(files[0], [*inputs, *([] if root is None else [f"corpus.root={root}"])])
    return [*files, *_texts(dataclasses.asdict(own.corpus))], lambda: load_recipe_corpus(own).dataset


def _texts(values: Any) -> Iterator[str]:
    """All text among a corpus's options, such as the roots of a mixture's corpora: it may be a path."""
    if isinstance(values, str) and values and "\0" not in values:
        yield values
    elif isinstance(values, Mapping | list | tuple):
        for value in values.values() if isinstance(values, Mapping) else values:
            yield from _texts(value)


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
