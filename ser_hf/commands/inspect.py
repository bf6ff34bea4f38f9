"""ser-hf inspect: what a corpus's folder holds, as a page to read and a JSON file."""

import argparse
from pathlib import Path
from typing import Any

from ..errors import UserError

EXAMPLE = "ser-hf inspect ravdess data/RAVDESS song=true --output inspect-song"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("corpus", help="such as ravdess, cremad, emodb; csv for a table of your own")
    parser.add_argument("root", nargs="?", metavar="DIR", help="the folder that holds the audio; of csv the table")
    parser.add_argument("options", nargs="*", metavar="key=value", help="an option of the corpus")
    parser.add_argument("--output", metavar="FOLDER", help="where the page goes (default: inspect-CORPUS)")
    parser.add_argument(
        "--examples", type=int, default=2, metavar="N", help="clips of each label to show (default: %(default)s)"
    )
    parser.add_argument(
        "--no-near-copies",
        action="store_true",
        help="do not look for takes that stand twice, cut or re-encoded (saves decoding into the cache)",
    )


def run(options: argparse.Namespace) -> None:
    """Inspects, writes the page and prints the verdict."""
    # Imported late: `--help` must not wait for these.
    from ..inspection import check_folder, inspect_corpus, write_inspection

    root, settings = options.root, list(options.options)
    if root is not None and "=" in root and not Path(root).exists():
        root, settings = None, [root, *settings]
    if options.examples < 0:
        raise UserError(f"--examples: expected zero or more, got {options.examples}")
    corpus_settings = _settings(options.corpus, settings)
    folder = Path(options.output or f"inspect-{options.corpus}")
    check_folder(folder)
    inspection = inspect_corpus(options.corpus, root, near_copies=not options.no_near_copies, **corpus_settings)
    page = write_inspection(inspection, folder, options.examples)
    print(summary(inspection.to_dict()))
    print(f"  read it: {page}")


def summary(facts: dict[str, Any]) -> str:
    """The verdict, the counts and each finding, as lines for the terminal."""
    counts, official = facts["counts"], facts["official"]
    of = f" of the release's {official['clips']}" if official else ""
    clips = f"  {counts['readable_clips']}{of} clips readable, {counts['hours']:.2f} h, "
    lines = [
        "",
        f"{facts['corpus']['title']}: {facts['verdict']['text']}",
        clips + f"speakers: {counts['speakers']}, labels: {counts['labels']}",
    ]
    return "\n".join(lines + [f"  {finding['level']}: {finding['text']}" for finding in facts["findings"]])


def _settings(corpus: str, settings: list[str]) -> dict[str, Any]:
    """The corpus's options out of ``key=value`` words, each checked against its type."""
    from ..corpora import CORPORA, corpus_options
    from ..strict import coerce, parse_yaml, unknown_key

    if corpus not in CORPORA:
        raise UserError(f"corpus: {corpus!r} is none of {', '.join(CORPORA)}")
    known = corpus_options(corpus)
    values = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        key = key.removeprefix("corpus.")
        if not equals:
            raise UserError(f"{setting}: an option of the corpus reads key=value")
        if key not in known:
            raise unknown_key(f"corpus.{key}", known)
        values[key] = coerce(parse_yaml(text, f"the option {setting}"), known[key][0], f"corpus.{key}")
    return values
