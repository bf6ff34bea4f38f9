"""ser-hf publish-corpus: a corpus whose license allows it, as a dataset repository on the Hub."""

from collections.abc import Sequence
from typing import Annotated, Any

from typer import Argument, Option

from ..utils.errors import UserError
from .options import Private, root_or_word, typed_options


def publish_corpus(
    corpus: Annotated[str, Argument(help="Such as ravdess; csv or audiofolder for your own recordings.")],
    repo: Annotated[str, Option(metavar="USER/NAME", help="NAME alone is in your account.")],
    root: Annotated[str | None, Argument(metavar="DIR", help="Its folder; for csv the table.")] = None,
    words: Annotated[
        list[str] | None,
        Argument(
            metavar="key=value",
            help="An option of the corpus, labels, merge, drop or exclude, or PROTOCOL.key=value.",
        ),
    ] = None,
    private: Private = False,
    protocol: Annotated[
        list[str] | None,
        Option(metavar="NAME", help="Its splits become files, its folds a column; may be given several times."),
    ] = None,
    i_have_the_right: Annotated[
        bool,
        Option(
            "--i-have-the-right",
            help="You may publish these recordings, and their speakers agreed: for corpora of your own.",
        ),
    ] = False,
) -> None:
    """Publish a corpus to the Hub as a dataset.

    Only where its license allows it. Uploads playable audio, speakers, splits and a card.

    Example: ser-hf publish-corpus ravdess data/RAVDESS --repo USER/ravdess --protocol speaker_independent
    """
    from ..corpora import CORPORA, corpus_options
    from ..hub.corpus_repository import publish_corpus

    root, words = root_or_word(root, words)
    protocols = _protocols(protocol or (), words)
    if corpus not in CORPORA:
        raise UserError(f"corpus: expected one of {', '.join(CORPORA)}, got {corpus!r}")
    known = corpus_options(corpus) | {
        "labels": (list[str] | None, None),
        "merge": (dict[str, str], {}),
        "drop": (list[str], []),
        "exclude": (list[str], []),
        "on_unknown": (str, "error"),
    }
    settings = [word for word in words if word.partition(".")[0] not in protocols]
    pushed = publish_corpus(
        corpus,
        root,
        repo,
        protocols=protocols,
        private=private,
        have_right=i_have_the_right,
        settings=typed_options(settings, known, "corpus"),
    )
    state = f"commit {pushed.commit}" if pushed.changed else f"unchanged, no new commit ({pushed.commit})"
    print(f"{pushed.url}: {state}")
    print(f'  load it: load_dataset("{pushed.repo_id}")')
    print(f"  train on it: corpus: {{name: hub, dataset: {pushed.repo_id}, revision: {pushed.commit}, ...}}")


def _protocols(names: Sequence[str], words: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The options of each protocol, from ``PROTOCOL.key=value`` words."""
    from ..protocols import PROTOCOLS, protocol_options

    for name in names:
        if name not in PROTOCOLS:
            raise UserError(f"--protocol: expected one of {', '.join(PROTOCOLS)}, got {name!r}")
    for word in words:
        name, dot, _ = word.partition("=")[0].partition(".")
        if dot and name in PROTOCOLS and name not in names:
            raise UserError(f"{word}: the option --protocol {name} is missing")
    return {
        name: typed_options([word for word in words if word.startswith(f"{name}.")], protocol_options(name), name)
        for name in names
    }
