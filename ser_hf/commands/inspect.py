"""ser-hf inspect: what a corpus's folder holds, or what a recipe's augmentation does, as a page and a JSON file."""

import argparse
from pathlib import Path
from typing import Any

from ..errors import UserError

EXAMPLE = "ser-hf inspect ravdess data/RAVDESS song=true --output inspect-song"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("corpus", nargs="?", help="such as ravdess, cremad, emodb; csv for a table of your own")
    parser.add_argument("root", nargs="?", metavar="DIR", help="the folder that holds the audio; of csv the table")
    parser.add_argument("options", nargs="*", metavar="key=value", help="an option of the corpus, a key of the recipe")
    parser.add_argument(
        "--augment",
        metavar="RECIPE",
        help="no corpus, but what this recipe's augmentation makes of its training clips, to hear and to see",
    )
    parser.add_argument(
        "--output", metavar="FOLDER", help="where the page goes (default: inspect-CORPUS, or inspect-RECIPE-augment)"
    )
    parser.add_argument(
        "--examples",
        type=int,
        default=2,
        metavar="N",
        help="clips of each label to show, of augmentation clips in all (default: %(default)s)",
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
    print(f"  read it: {page}")


def _run_augment(options: argparse.Namespace) -> None:
    """The page of a recipe's augmentation: its corpus is loaded, split and decoded, nothing is trained."""
    from ..inspection import check_folder
    from ..recipe import read_recipe

    if Path(options.augment).is_dir():  # as the empty word is, too
        raise UserError(f"--augment: {options.augment!r} is a folder; name a recipe's file (YAML)")
    if options.no_near_copies:
        raise UserError("--no-near-copies: of no use with --augment, which looks for no copies; leave it out")
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
    from ..inspection.augmented import check_rate, write_augmented
    from ..material import corpus_of
    from ..models.preparation import Preparation
    from ..protocols import split_corpus

    corpus, audio, protocol = recipe.corpus, recipe.audio, recipe.protocol
    check_rate(audio.sampling_rate)  # before anything is decoded
    dataset = corpus_of(recipe)
    split = split_corpus(dataset, protocol.name, protocol.folds, **protocol.options)[0]
    dataset, store = prepare(dataset, audio.sampling_rate, audio.cache_dir, Preparation(**audio.preparation))
    page = write_augmented(
        recipe.name,
        recipe.augment,
        dataset,
        store,
        split.rows["train"],
        folder,
        options.examples,
        recipe.training.seeds[0],
        corpus_facts(corpus.name, corpus.options),
        audio.cache_dir,
    )
    print(f"  hear it: {page}")


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
