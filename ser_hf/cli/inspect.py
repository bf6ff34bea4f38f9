"""ser-hf inspect: a page and a JSON file about a corpus, or about the augmentation of a recipe."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from ..utils.errors import UserError
from .options import CorpusWords, corpus_recipe, root_or_word


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
    examples: Annotated[int, Option(metavar="N", min=0, help="Clips to show: per label, with --augment in all.")] = 2,
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
    if augment is not None:
        overrides = [word for word in (corpus, root, *(words or ())) if word is not None]
        page = _preview_augmentation(augment, overrides, output, examples)
        print(f"  page: {page}")
        return
    from ..inspection import check_folder, inspect_corpus, write_inspection

    root, words = root_or_word(root, words)
    own = corpus_recipe(corpus, root, words).corpus
    folder = Path(output or f"inspect-{corpus}")
    check_folder(folder)
    inspection = inspect_corpus(own.name, root, near_copies=not no_near_copies, **own.options)
    page = write_inspection(inspection, folder, examples)
    print(summary(inspection.to_dict()))
    print(f"  page: {page}")


def _preview_augmentation(path: str, overrides: Sequence[str], output: str | None, examples: int) -> Path:
    """Writes the augmentation preview of the training clips of the recipe's first fold."""
    from ..experiment.recipe_checks import read_recipe
    from ..inspection import check_folder

    recipe = read_recipe(path, [*overrides, "protocol.near_duplicates=skip"])
    if not recipe.augment.steps:
        raise UserError(f"augment: {path} changes no clip; add a step, such as augment.speed.probability=0.5")
    folder = Path(output or f"inspect-{Path(path).stem}-augment")
    check_folder(folder)
    from ..audio.augmentation import Augmenter
    from ..corpora import corpus_facts
    from ..experiment.data import load_experiment_data
    from ..inspection.augmentation_preview import write_augmentation_preview

    data = load_experiment_data(recipe)
    return write_augmentation_preview(
        recipe.name,
        Augmenter(recipe.augment, recipe.audio.sampling_rate, recipe.audio.cache_dir),
        data.dataset,
        data.store,
        data.folds[0].split.rows["train"],
        folder,
        examples=examples,
        seed=recipe.training.seeds[0],
        license=corpus_facts(recipe.corpus.name, recipe.corpus.options).get("license"),
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
