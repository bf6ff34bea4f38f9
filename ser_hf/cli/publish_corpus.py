"""ser-hf publish-corpus: a corpus whose license allows it, as a dataset repository on the Hub."""

from typing import Annotated

from typer import Argument, Option

from .options import Private, corpus_recipe, root_or_word


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
        Option(metavar="NAME", help="Its splits become files, its folds splits/NAME.json; repeatable."),
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
    from ..hub.corpus_repository import publish_corpus

    root, words = root_or_word(root, words)
    protocols = {}
    for name in protocol or ():
        own = [word for word in words if word.startswith(f"{name}.")]
        words = [word for word in words if word not in own]
        options = [f"protocol.{word.removeprefix(f'{name}.')}" for word in own]
        protocols[name] = corpus_recipe(corpus, root, options, name).protocol.options
    section = corpus_recipe(corpus, root, words).corpus
    settings = {key: getattr(section, key) for key in ("labels", "merge", "drop", "exclude", "on_unknown")}
    pushed = publish_corpus(
        corpus,
        root,
        repo,
        protocols=protocols,
        private=private,
        have_right=i_have_the_right,
        settings=settings | section.options,
    )
    state = f"commit {pushed.commit}" if pushed.changed else f"unchanged, no new commit ({pushed.commit})"
    print(f"{pushed.url}: {state}")
    print(f'  load it: load_dataset("{pushed.repo_id}")')
    print(f"  train on it: corpus: {{name: hub, dataset: {pushed.repo_id}, revision: {pushed.commit}, ...}}")
