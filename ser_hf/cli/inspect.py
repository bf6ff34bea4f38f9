"""ser-hf inspect: a page and a JSON file about a corpus, or about the augmentation of a recipe."""

import argparse
from pathlib import Path
from typing import Any

from ..utils.errors import UserError

EXAMPLE = "ser-hf inspect ravdess data/RAVDESS song=true --output inspect-song"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("corpus", nargs="?", help="such as ravdess, cremad, emodb; csv for your own table")
    parser.add_argument("root", nargs="?", metavar="DIR", help="the folder of the audio; of csv the table")
    parser.add_argument("options", nargs="*", metavar="key=value", help="an option of the corpus, a key of the recipe")
    parser.add_argument(
        "--augment",
        metavar="RECIPE",
        help="show the augmentation of this recipe's training clips instead of a corpus",
    )
    parser.add_argument(
        "--output", metavar="FOLDER", help="folder of the page (default: inspect-CORPUS, or inspect-RECIPE-augment)"
    )
    parser.add_argument(
        "--examples",
        type=int,
        default=2,
        metavar="N",
        help="clips to show: of each label, or with --augment in all (default: %(default)s)",
    )
    parser.add_argument(
        "--no-near-copies",
        action="store_true",
        help="do not search copies that were cut or re-encoded (saves decoding into the cache)",
    )


def run(options: argparse.Namespace) -> None:
    """Inspects the corpus, writes the page and prints the findings."""
    # Imported late, so that `--help` is fast.
    from ..inspection import check_folder, inspect_corpus, write_inspection

    if options.examples < 0:
        raise UserError(f"--examples: expected zero or more, got {options.examples}")
    if options.augment is not None:
        _run_augment(options)
        return
    if options.corpus is None:
        raise UserError("corpus: missing; name one (such as ravdess), or a recipe with --augment")
    root, settings = options.root, list(options.options)
    if root is not None and "=" in root and not Path(root).exists():
        root, settings = None, [root, *settings]
    corpus_settings = _settings(options.corpus, settings)
    folder = Path(options.output or f"inspect-{options.corpus}")
    check_folder(folder)
    inspection = inspect_corpus(options.corpus, root, near_copies=not options.no_near_copies, **corpus_settings)
    page = write_inspection(inspection, folder, options.examples)
    print(summary(inspection.to_dict()))
    print(f"  page: {page}")


def _run_augment(options: argparse.Namespace) -> None:
    """Loads, splits and decodes the recipe's corpus, and writes the augmentation preview."""
    from ..experiment.recipe_checks import read_recipe
    from ..inspection import check_folder

    if Path(options.augment).is_dir():  # the empty string, too
        raise UserError(f"--augment: {options.augment!r} is a folder; name a recipe's file (YAML)")
    if options.no_near_copies:
        raise UserError("--no-near-copies: has no effect with --augment; leave it out")
    overrides = [word for word in (options.corpus, options.root, *options.options) if word is not None]
    recipe = read_recipe(options.augment, overrides)
    if not recipe.augment.steps and not recipe.augment.mixup.probability:
        what = "only repeats clips (oversample)" if recipe.augment.oversample else "changes no clip"
        raise UserError(
            f"augment: {options.augment} {what}; add a step, such as augment: {{speed: {{probability: 0.5}}}} in the "
            "recipe or augment.speed.probability=0.5 here"
        )
    folder = Path(options.output or f"inspect-{Path(options.augment).stem}-augment")
    check_folder(folder)
    from ..audio import prepare
    from ..corpora import corpus_facts
    from ..experiment.data import load_recipe_corpus
    from ..inspection.augmentation_preview import write_augmentation_preview
    from ..models.preparation import Preparation
    from ..protocols import split_corpus

    corpus, audio, protocol = recipe.corpus, recipe.audio, recipe.protocol
    dataset = load_recipe_corpus(recipe).dataset
    split = split_corpus(dataset, protocol.name, protocol.folds, **protocol.options)[0]
    dataset, store = prepare(dataset, audio.sampling_rate, audio.cache_dir, Preparation(**audio.preparation))
    page = write_augmentation_preview(
        recipe.name,
        recipe.augment,
        dataset,
        store,
        split.rows["train"],
        folder,
        examples=options.examples,
        seed=recipe.training.seeds[0],
        license=corpus_facts(corpus.name, corpus.options).get("license"),
        cache_dir=audio.cache_dir,
    )
    print(f"  page: {page}")


def summary(facts: dict[str, Any]) -> str:
    """The verdict, the counts and each finding, for the terminal."""
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
    """The corpus's options from ``key=value`` arguments, checked against their types."""
    from ..corpora import CORPORA, corpus_options
    from ..utils.yaml import coerce, parse_yaml, unknown_key

    if corpus not in CORPORA:
        raise UserError(f"corpus: expected one of {', '.join(CORPORA)}, got {corpus!r}")
    known = corpus_options(corpus)
    values = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        key = key.removeprefix("corpus.")
        if not equals:
            raise UserError(f"{setting}: expected an option of the corpus as key=value")
        if key not in known:
            raise unknown_key(f"corpus.{key}", known)
        values[key] = coerce(parse_yaml(text, f"the option {setting}"), known[key][0], f"corpus.{key}")
    return values
