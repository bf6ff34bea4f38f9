"""ser-hf publish-corpus: publishes a corpus whose license allows it, as a data set on the Hub."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..utils.errors import UserError

EXAMPLE = "ser-hf publish-corpus ravdess data/RAVDESS --repo USER/ravdess --protocol speaker_independent"
INTERRUPTED = "; the Hub keeps what has arrived, and the same command continues"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("corpus", help="such as ravdess, cremad, tess; csv or audiofolder for one of your own")
    parser.add_argument("root", nargs="?", metavar="DIR", help="the folder that holds the audio; of csv the table")
    parser.add_argument(
        "options",
        nargs="*",
        metavar="key=value",
        help="an option of the corpus, labels, merge, drop or exclude, or PROTOCOL.key=value",
    )
    parser.add_argument("--repo", required=True, metavar="USER/NAME", help="the data set; NAME alone is yours")
    parser.add_argument(
        "--private", action="store_true", help="create a private repository; an existing one stays as it is"
    )
    parser.add_argument(
        "--protocol",
        action="append",
        default=[],
        metavar="NAME",
        help="its splits become a configuration, its folds a column; may be given several times",
    )
    parser.add_argument(
        "--original", action="store_true", help="the corpus's own files, unchanged, instead of FLAC at 16 kHz"
    )
    parser.add_argument(
        "--i-have-the-right",
        action="store_true",
        help="for your own corpora: you may pass on these recordings, and their speakers agreed",
    )


def run(options: argparse.Namespace) -> None:
    """Publishes, and prints the address and how to load it."""
    # Imported late: `--help` must not wait for these.
    from ..hub.corpus_repository import publish_corpus

    root, words = options.root, list(options.options)
    if root is not None and "=" in root and not Path(root).exists():
        root, words = None, [root, *words]
    protocols = _protocols(options.protocol, words)
    pushed = publish_corpus(
        options.corpus,
        root,
        options.repo,
        protocols=protocols,
        original=options.original,
        private=options.private,
        have_right=options.i_have_the_right,
        settings=_settings(options.corpus, [word for word in words if not _of_protocol(word, protocols)]),
    )
    done = f"commit {pushed.commit}" if pushed.changed else f"up to date, no commit ({pushed.commit})"
    print(f"{pushed.url}: {done}")
    print(f'  load it: load_dataset("{pushed.repo_id}")')
    print(f"  train on it: corpus: {{name: hub, dataset: {pushed.repo_id}, revision: {pushed.commit}, ...}}")


def _of_protocol(word: str, protocols: Sequence[str] | dict[str, Any]) -> bool:
    return word.partition("=")[0].partition(".")[0] in protocols


def _protocols(names: Sequence[str], words: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The protocols' options out of ``PROTOCOL.key=value`` words, each checked against its type."""
    from ..protocols import PROTOCOLS, protocol_options

    for name in names:
        if name not in PROTOCOLS:
            raise UserError(f"--protocol: expected one of {', '.join(PROTOCOLS)}, got {name!r}")
    found: dict[str, dict[str, Any]] = {name: {} for name in names}
    for word in words:
        key, _, text = word.partition("=")
        name, dot, option = key.partition(".")
        if dot and name in PROTOCOLS and name not in found:
            raise UserError(f"{word}: no --protocol {name} is given")
        if name in found:
            found[name][option] = _value(word, text, f"{name}.{option}", protocol_options(name), option)
    return found


def _settings(corpus: str, words: Sequence[str]) -> dict[str, Any]:
    """The corpus's options and the settings of its labels."""
    from ..corpora import CORPORA, corpus_options

    if corpus not in CORPORA:
        raise UserError(f"corpus: expected one of {', '.join(CORPORA)}, got {corpus!r}")
    known = corpus_options(corpus) | {
        "labels": (list[str] | None, None),
        "merge": (dict[str, str], {}),
        "drop": (list[str], []),
        "exclude": (list[str], []),
        "on_unknown": (str, "error"),
    }
    found = {}
    for word in words:
        key, equals, text = word.partition("=")
        key = key.removeprefix("corpus.")
        if not equals:
            raise UserError(f"{word}: an option reads key=value")
        found[key] = _value(word, text, f"corpus.{key}", known, key)
    return found


def _value(word: str, text: str, key: str, known: dict[str, tuple[Any, Any]], option: str) -> Any:
    from ..utils.yaml import coerce, parse_yaml, unknown_key

    if option not in known:
        raise unknown_key(key, known)
    return coerce(parse_yaml(text, f"the option {word}"), known[option][0], key)
