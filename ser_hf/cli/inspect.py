"""ser-hf inspect: a page and a JSON file about a corpus, or about the augmentation of a recipe."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from ..utils.errors import UserError
from .options import CorpusWords, root_or_word, typed_options


def inspect(
    corpus: Annotated[str | None, Argument(help="Such as ravdess; csv for your own table.")] = None,
    root: Annotated[str | None, Argument(metavar="DIR", help="Its folder; for csv the table.")] = None,
    words: CorpusWords = None,
    augment: Annotated[
        str | None, Option(metavar="RECIPE", help="Show the augmentation of a recipe's training clips instead.")
    ] = None,
    output: Annotated[
        str | None, Option(metavar="FOLDER", help="[default: inspect-CORPUS, or inspect-RECIPE-augment]")
    ] = None,
    examples: Annotated[int, Option(metavar="N", help="Clips to show: per label, with --augment in all.")] = 2,
    no_near_copies: Annotated[
        bool,
        Option(
            "--no-near-copies",
            help="Do not search for copies that were cut or re-encoded (saves decoding into the cache).",
        ),
    ] = False,
) -> None:
    """Inspect a corpus before training.

    Writes a page with findings; with --augment a page to listen to what a recipe does to its clips.

    Example: ser-hf inspect ravdess data/RAVDESS song=true --output inspect-song
    """
    if examples < 0:
        raise UserError(f"--examples: expected zero or more, got {examples}")
    if augment is not None:
        if no_near_copies:
            raise UserError("--no-near-copies: has no effect with --augment; leave it out")
        overrides = [word for word in (corpus, root, *(words or ())) if word is not None]
        page = _preview_augmentation(augment, overrides, output, examples)
    elif corpus is None:
        raise UserError("corpus: missing; name one (such as ravdess), or a recipe with --augment")
    else:
        page = _inspect_corpus(corpus, root, words, output, examples, not no_near_copies)
    print(f"  page: {page}")


def _inspect_corpus(
    corpus: str, root: str | None, words: Sequence[str] | None, output: str | None, examples: int, near_copies: bool
) -> Path:
    from ..corpora import CORPORA, corpus_options
    from ..inspection import check_folder, inspect_corpus, write_inspection

    if corpus not in CORPORA:
        raise UserError(f"corpus: expected one of {', '.join(CORPORA)}, got {corpus!r}")
    root, words = root_or_word(root, words)
    settings = typed_options(words, corpus_options(corpus), "corpus")
    folder = Path(output or f"inspect-{corpus}")
    check_folder(folder)
    inspection = inspect_corpus(corpus, root, near_copies=near_copies, **settings)
    page = write_inspection(inspection, folder, examples)
    print(summary(inspection.to_dict()))
    return page


def _preview_augmentation(path: str, overrides: Sequence[str], output: str | None, examples: int) -> Path:
    """Loads, splits and decodes the recipe's corpus, and writes the augmentation preview."""
    from ..experiment.recipe_checks import read_recipe
    from ..inspection import check_folder

    if Path(path).is_dir():  # the empty string, too
        raise UserError(f"--augment: {path!r} is a folder; name a recipe's file (YAML)")
    recipe = read_recipe(path, overrides)
    if not recipe.augment.steps:
        raise UserError(
            f"augment: {path} has no step that changes a clip; add one, such as augment.speed.probability=0.5"
        )
    folder = Path(output or f"inspect-{Path(path).stem}-augment")
    check_folder(folder)
    from ..audio import prepare
    from ..audio.augmentation import Augmenter
    from ..corpora import corpus_facts
    from ..experiment.data import load_recipe_corpus
    from ..inspection.augmentation_preview import write_augmentation_preview
    from ..models.preparation import Preparation
    from ..protocols import split_corpus

    corpus, audio, protocol = recipe.corpus, recipe.audio, recipe.protocol
    dataset = load_recipe_corpus(recipe).dataset
    split = split_corpus(dataset, protocol.name, protocol.folds, **protocol.options)[0]
    rows = split.rows["train"]
    dataset, store = prepare(dataset, audio.sampling_rate, audio.cache_dir, Preparation(**audio.preparation))
    return write_augmentation_preview(
        recipe.name,
        Augmenter(recipe.augment, audio.sampling_rate, store, rows, audio.cache_dir),
        dataset,
        rows,
        folder,
        examples=examples,
        seed=recipe.training.seeds[0],
        license=corpus_facts(corpus.name, corpus.options).get("license"),
    )


def summary(facts: dict[str, Any]) -> str:
    """The verdict, the counts and each finding, for the terminal."""
    counts, official = facts["counts"], facts["official"]
    of = f" of the release's {official['clips']}" if official else ""
    lines = [
        "",
        f"{facts['corpus']['title']}: {facts['verdict']['text']}",
        f"  {counts['readable_clips']}{of} clips readable, {counts['hours']:.2f} h, speakers: {counts['speakers']}, "
        f"labels: {counts['labels']}",
    ]
    return "\n".join(lines + [f"  {finding['level']}: {finding['text']}" for finding in facts["findings"]])
