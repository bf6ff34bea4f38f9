"""ser-hf predict: what a trained model says of recordings, clip by clip or over time, and its embeddings of them."""

import argparse
import contextlib
import dataclasses
import os
import signal
import sys
import threading
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..utils.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset

    from ..inference.inputs import Recording

EXAMPLE = "ser-hf predict runs/ravdess_crnn --corpus ravdess --root data/RAVDESS --embeddings ravdess.parquet"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    import soundfile

    formats = ", ".join(sorted(set(soundfile.available_formats()) - {"RAW"}))  # which has no header
    parser.add_argument(
        "model",
        help="a run's folder, a model folder or a Hub id, of any audio classifier; or an ONNX file of ser-hf export",
    )
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar="INPUT",
        help=f"audio files ({formats}), folders, tables (CSV, TSV, JSON lines, Parquet) with a column path and "
        "perhaps start and end in seconds, or - for a recording on standard input; with --corpus options of the "
        "corpus as key=value, with --recipe its section.key=value",
    )
    parser.add_argument("--corpus", metavar="NAME", help="hear a corpus, such as ravdess; its folder is --root")
    parser.add_argument("--root", metavar="DIR", help="the folder (of csv the table) of the corpus")
    parser.add_argument(
        "--recipe", metavar="RECIPE", help="hear the corpus of a recipe, or of a run's folder, with its labels"
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="labels, probabilities and logits, as FILE.csv, .json, .jsonl or .parquet, and a --timeline of one "
        "recording as a picture, .png or .svg (default: to standard output as --format says)",
    )
    parser.add_argument(
        "--format",
        choices=("table", "jsonl", "csv"),
        help="of standard output: a line a clip with its label, or all that --output has (default: table)",
    )
    parser.add_argument("--embeddings", metavar="FILE", help="the same and an embedding of each clip, as FILE.parquet")
    parser.add_argument(
        "--layer",
        type=int,
        metavar="N",
        help="embeddings are the mean of the encoder's hidden state N over real frames: 0 enters the lowest layer, n "
        "leaves the n-th, -1 the top one (default: input of the classifier's last layer)",
    )
    parser.add_argument(
        "--window",
        type=float,
        metavar="SECONDS",
        help="hear longer clips in windows of at most that (default: as its recipe judged it)",
    )
    parser.add_argument(
        "--by-window", action="store_true", help="a row for each window in place of one for each clip (their mean)"
    )
    parser.add_argument(
        "--timeline",
        action="store_true",
        help="emotion over time: a row for each of overlapping windows, each heard as a clip by itself; as a table, a "
        "line for each stretch of time with the same label. --window is 4 s by default, or as the recipe judged it",
    )
    parser.add_argument(
        "--hop", type=float, metavar="SECONDS", help="from one window over time to the next (default: half a window)"
    )
    parser.add_argument(
        "--smooth",
        action="store_true",
        help="rows over time that do not overlap: for each stretch the mean of the windows that hear it, which the "
        "table and the picture always show",
    )
    parser.add_argument(
        "--batch-size", type=int, default=16, metavar="N", help="windows at a time (default: %(default)s)"
    )
    parser.add_argument(
        "--on-error",
        choices=("error", "skip"),
        default="skip",
        help="files that cannot be read end it, before anything is written, or are told and left out, and the exit "
        "code is 1 in the end (default: %(default)s)",
    )
    for dropped in ("--microphone", "--seconds"):
        parser.add_argument(dropped, nargs="?", const=True, help=argparse.SUPPRESS)
    parser.add_argument("--device", help="such as cpu or cuda:1 (default: the GPU, if there is one)")
    parser.add_argument("--revision", metavar="REV", help="branch, tag or commit of a model on the Hub")
    parser.add_argument(
        "--trust-remote-code", action="store_true", help="run code that a model of others brings; ours need none"
    )


def run(options: argparse.Namespace) -> None:
    """Hears everything, writes the files whole and says what was written; exit code 1 where a file could not be read.

    All that is told goes to standard error where standard output has the answers.
    """
    for dropped in ("microphone", "seconds"):
        if getattr(options, dropped) is not None:
            raise UserError(f"--{dropped}: removed; `ser-hf demo {options.model}` uses the microphone in a browser")
    # Imported late: `--help` must not wait for these.
    from ..inference.inputs import NoneReadable

    try:
        skipped = _predict(options)
    except NoneReadable as error:
        if options.on_error == "error":
            raise
        sys.stderr.write(f"error: {error}\n")
        skipped = True
    if skipped:
        sys.stdout.flush()
        raise SystemExit(1)


def _predict(options: argparse.Namespace) -> list[tuple[str, str]]:
    from ..inference.classifier import load_classifier
    from ..inference.outputs import to_terminal, writing
    from ..inference.predict import PredictionSettings, predict_tables, table_facts

    asked = PredictionSettings(
        options.embeddings is not None,
        options.layer,
        options.window,
        options.by_window,
        options.batch_size,
        options.on_error == "skip",
        options.timeline,
        options.hop,
        options.smooth,
    )
    source = _source(options)
    paths = _outputs(options, source.files)
    recordings = source.recordings()
    if len(recordings) > 1 and _picture(options.output):
        raise UserError(f"--output: {options.output} is a picture of one recording, and there are {len(recordings)}")
    classifier = load_classifier(
        options.model,
        revision=options.revision,
        device=options.device,
        trust_remote_code=options.trust_remote_code,
    )
    facts, skipped, rows = table_facts(classifier, asked), [], 0
    shown = not paths or options.format is not None
    with _terminated(), contextlib.ExitStack() as files:
        writes = [files.enter_context(writing(path, key, facts.labels)) for key, path in paths.items()]
        if shown:
            writes.append(to_terminal(options.format or "table", facts.labels, asked.timeline))
        for table in predict_tables(classifier, recordings, asked, facts, skipped):
            rows += len(table)
            for write in writes:
                write(table)
    told = sys.stderr if shown else sys.stdout
    if paths or skipped:
        left_out = f", {_counted(len(skipped), 'file')} left out" if skipped else ""
        what = "row" if asked.smooth else "window" if asked.by_window or asked.timeline else "clip"
        print(f"{_counted(rows, what)}{left_out}", file=told)
    for key, path in paths.items():
        embedding = f" ({facts.embedding})" if key == "--embeddings" else ""
        print(f"  {key.removeprefix('--')}{embedding}: {path}", file=told)
    return skipped


def _outputs(options: argparse.Namespace, inputs: Sequence[str]) -> dict[str, Path]:
    """The files that are asked for, by flag. Raises a `UserError` where one may not be written."""
    from ..inference.outputs import PICTURES, check_output, same_file

    kinds = {"--output": (".csv", ".json", ".jsonl", ".parquet", *PICTURES), "--embeddings": (".parquet",)}
    given = {"--output": options.output, "--embeddings": options.embeddings}
    paths = {key: check_output(path, kinds[key], key, inputs) for key, path in given.items() if path is not None}
    if len(paths) == 2 and same_file(*paths.values()):
        raise UserError(f"--embeddings: {options.embeddings} is --output too; name another file")
    if _picture(options.output) and not options.timeline:
        raise UserError(f"--output: {options.output} is a picture, which shows a --timeline; ask for that")
    return paths


def _picture(path: str | None) -> bool:
    from ..inference.outputs import PICTURES

    return path is not None and path.lower().endswith(PICTURES)


class _Source(NamedTuple):
    """What is to be heard: the files and folders that it comes from, and how it is had."""

    files: list[str]
    recordings: "Callable[[], Sequence[Recording] | Dataset]"


def _source(options: argparse.Namespace) -> _Source:
    from ..inference.inputs import PIPED, from_paths

    sources = [key for key in ("corpus", "recipe") if getattr(options, key) is not None]
    if len(sources) == 2:
        raise UserError("--recipe: names its corpus itself; leave out --corpus")
    if options.root is not None and not sources:
        raise UserError("--root: belongs to --corpus or --recipe; name folders of your own without it")
    own = [options.model, *filter(None, [options.root])]  # a run's predictions are no answers to be replaced
    if not sources:
        if not options.inputs:
            raise UserError("INPUT: missing; name audio files, folders or a table, or a corpus with --corpus")
        named = [word for word in options.inputs if word != PIPED]
        return _Source([*own, *named], lambda: from_paths(options.inputs, options.on_error == "skip"))
    for word in options.inputs:
        if "=" not in word:
            raise UserError(f"{word}: besides --{sources[0]} only key=value; hear your own files without it")
    if options.recipe is not None:
        from ..experiment.data import load_recipe_corpus
        from ..experiment.recipe_checks import read_recipe

        path = options.recipe
        if os.path.isdir(path):
            path = os.path.join(path, "recipe.yaml")
        root = [] if options.root is None else [f"corpus.root={options.root}"]
        recipe = read_recipe(path, [*options.inputs, *root])
        return _Source(
            [*own, path, *_words(dataclasses.asdict(recipe.corpus))], lambda: load_recipe_corpus(recipe).dataset
        )
    from ..corpora import load_corpus

    settings = dict(_settings(options.inputs))
    return _Source([*own, *_words(settings)], lambda: load_corpus(options.corpus, options.root, **settings))


def _words(values: Any) -> Iterator[str]:
    """All text among a corpus's options, such as the roots of a mixture's items: it may be a path."""
    if isinstance(values, str) and values and "\0" not in values:
        yield values
    elif isinstance(values, Mapping | list | tuple):
        for value in values.values() if isinstance(values, Mapping) else values:
            yield from _words(value)


def _settings(words: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Keys of the recipe's corpus section out of ``key=value`` words; a corpus checks its own options itself."""
    from ..experiment.recipe import CorpusSection
    from ..utils.yaml import coerce, parse_yaml

    kinds = typing.get_type_hints(CorpusSection)
    for word in words:
        key, _, text = word.partition("=")
        key = key.removeprefix("corpus.")
        value = parse_yaml(text, f"the option {word}")
        if key in ("name", "root", "options"):
            raise UserError(f"{word}: the corpus is named by --corpus, its folder by --root")
        yield key, coerce(value, kinds[key], f"corpus.{key}") if key in kinds else value


@contextlib.contextmanager
def _terminated() -> Iterator[None]:
    """Ends by SIGTERM as by an exception, so that half-written files go."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
