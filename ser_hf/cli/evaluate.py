"""ser-hf evaluate: how well a trained model, whoever made it, recognises the emotions of a corpus."""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..utils.errors import UserError

if TYPE_CHECKING:
    from ..experiment.recipe import Recipe

EXAMPLE = "ser-hf evaluate runs/ravdess_crnn --corpus emodb --root data/EMO-DB --output evaluations/crnn_on_emodb"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="runs' folders, model folders or Hub ids, of any audio classifier; and options of the corpus as "
        "key=value (of one of several as NAME.key=value), of the protocol as protocol.key=value",
    )
    parser.add_argument(
        "--corpus", action="append", metavar="NAME", help="a corpus to judge on, such as ravdess; may be given again"
    )
    parser.add_argument("--root", action="append", metavar="DIR", help="the folder of each --corpus, in their order")
    parser.add_argument(
        "--recipe", metavar="RECIPE", help="the corpus and the protocol of a recipe, or of a run's folder, instead"
    )
    parser.add_argument(
        "--protocol", metavar="NAME", help="judge on one part of this protocol (default: on the whole corpus)"
    )
    parser.add_argument("--part", choices=("train", "validation", "test"), help="that part (default: test)")
    parser.add_argument("--fold", type=int, metavar="N", help="of a protocol with folds: which one")
    parser.add_argument(
        "--label-map",
        metavar="MAP",
        help="what the model's labels mean, as WORD=EMOTION,... or a YAML file; none leaves an answer out "
        "(default: emotions and their common names are recognised)",
    )
    parser.add_argument(
        "--heard-speakers",
        action="store_true",
        help="let speakers judge that the model was trained with; the report says so",
    )
    parser.add_argument("--output", metavar="DIR", help="(default: evaluations/MODEL-on-CORPUS)")
    parser.add_argument("--overwrite", action="store_true", help="replace the evaluation that stands there")
    parser.add_argument(
        "--robustness", action="store_true", help="judge under noise, in rooms, over telephones and codecs as well"
    )
    parser.add_argument(
        "--robustness-clips", type=int, metavar="N", help="on so many of the clips at most (default: all)"
    )
    parser.add_argument("--embeddings", action="store_true", help="draw a map of the clips as the model places them")
    parser.add_argument(
        "--window", type=float, metavar="SECONDS", help="hear longer clips in windows (default: as its recipe judged)"
    )
    parser.add_argument(
        "--batch-size", type=int, default=16, metavar="N", help="windows at a time (default: %(default)s)"
    )
    parser.add_argument(
        "--bootstrap", type=int, default=2000, metavar="N", help="resamples of the intervals (default: %(default)s)"
    )
    parser.add_argument("--device", help="such as cpu or cuda:1 (default: the GPU, if there is one)")
    parser.add_argument("--revision", metavar="REV", help="branch, tag or commit of a model on the Hub")
    parser.add_argument(
        "--trust-remote-code", action="store_true", help="run code that a model of others brings; ours need none"
    )


def run(options: argparse.Namespace) -> None:
    """Judges each model on each corpus, writes a report of each and, of several, their matrix."""
    models = [word for word in options.models if "=" not in word or os.path.exists(word)]
    words = [word for word in options.models if word not in models]
    if not models:
        raise UserError("MODEL: missing; name a run's folder, a model folder or a Hub id")
    if len({_place(word) for word in models}) < len(models):
        raise UserError("MODEL: one of them is named twice")
    recipes = _asked(options, words)
    names = _names(models)
    folder = _folder(options, list(names.values()), list(recipes))

    # Imported late: `--help` must not wait for these.
    from ..corpora import corpus_facts
    from ..experiment.data import load_recipe_corpus
    from ..experiment.evaluate import (
        EvaluationSettings,
        evaluate_on_corpus,
        load_evaluated_model,
        require_place,
        summary,
        write_evaluation,
    )
    from ..experiment.evaluation_matrix import cell_of, write_matrix
    from ..utils.files import atomic_folder

    require_place(folder, options.overwrite)
    settings = EvaluationSettings(
        options.window,
        options.batch_size,
        options.bootstrap,
        robustness=options.robustness,
        robustness_clips=options.robustness_clips,
        embeddings=options.embeddings,
    )
    label_map = _label_map(options.label_map)
    trust = {"device": options.device, "revision": options.revision, "trust_remote_code": options.trust_remote_code}
    corpora = {name: (load_recipe_corpus(recipe), _chosen(options, recipe)) for name, recipe in recipes.items()}
    facts = {name: corpus_facts(recipe.corpus.name, recipe.corpus.options) for name, recipe in recipes.items()}
    several = len(models) * len(corpora) > 1
    cells, failed = [], []
    with atomic_folder(folder, "--output") as partial:
        for source in models:
            try:
                model = load_evaluated_model(source, label_map, **trust)
            except UserError as error:  # what others say is not lost for it
                if not several:
                    raise
                failed.append(f"{names[source]}: {error}")
                print(f"left out: {failed[-1]}", file=sys.stderr)
                continue
            for name, (corpus, chosen) in corpora.items():
                title, own = f"{names[source]} on {name}", f"{names[source]}-on-{name}" if several else "."
                try:
                    evaluation = evaluate_on_corpus(
                        model, corpus, title, settings, heard=options.heard_speakers, **chosen
                    )
                except UserError as error:
                    if not several:
                        raise
                    failed.append(f"{title}: {error}")
                    print(f"left out: {failed[-1]}", file=sys.stderr)
                    continue
                write_evaluation(partial / own, evaluation, facts[name], "../index.html" if several else None)
                print(summary(evaluation.report))
                learnt = (
                    None
                    if model.provenance is None
                    else bool(model.provenance.corpora & set(corpus.dataset["corpus"][:]))
                )
                left_out = sum(evaluation.left_out.values())
                cells.append(cell_of(names[source], name, evaluation.report, left_out, own, learnt))
        if not cells:
            raise UserError(failed[0])
        if several:
            write_matrix(partial, cells, failed)
    print(f"report: {folder / 'index.html'}")
    if failed:
        raise SystemExit(1)


def _place(source: str) -> str:
    """Where a model stands, by whichever of its folders it is named."""
    path = os.path.realpath(source)
    return path.removesuffix(f"{os.sep}model") if os.path.isdir(source) else source


def _names(sources: Sequence[str]) -> dict[str, str]:
    """A short name for each model: of folders the last part of the path, or as many as tell them apart."""
    parts = {}
    for source in sources:
        path = Path(os.path.abspath(source))
        whole = [part for part in path.parts[1:] if part != "model"] if path.is_dir() else source.split("/")
        parts[source] = (whole, 1 if path.is_dir() else len(whole))
    while True:
        names = {source: "-".join(whole[-count:]) for source, (whole, count) in parts.items()}
        doubled = {name for name in names.values() if list(names.values()).count(name) > 1}
        longer = [s for s, (whole, count) in parts.items() if names[s] in doubled and count < len(whole)]
        if not longer:
            alike = [names[source] for source in sources]
            return {s: names[s] if alike.count(names[s]) == 1 else f"{names[s]}-{i}" for i, s in enumerate(sources, 1)}
        parts |= {source: (parts[source][0], parts[source][1] + 1) for source in longer}


def _folder(options: argparse.Namespace, models: Sequence[str], corpora: Sequence[str]) -> Path:
    name = "+".join(models)[:80] + "-on-" + "+".join(corpora)[:80]
    return Path(options.output or Path("evaluations") / name)


def _asked(options: argparse.Namespace, words: Sequence[str]) -> dict[str, "Recipe"]:
    """The recipe, as far as corpus and protocol go, of each corpus by its name: what --corpus names, or --recipe."""
    from ..experiment.recipe_checks import read_recipe

    if options.recipe is not None:
        if options.corpus or options.root or options.protocol:
            raise UserError(
                "--recipe: names its corpus and protocol itself; leave out --corpus, --root and --protocol"
            )
        path = options.recipe
        if os.path.isdir(path):
            path = os.path.join(path, "recipe.yaml")
        recipe = read_recipe(path, list(words))
        return {recipe.corpus.name: recipe}
    names, roots = options.corpus or [], options.root or []
    if not names:
        raise UserError("--corpus: missing; name a corpus and its folder (--root), or a recipe (--recipe)")
    if len(set(names)) < len(names):
        raise UserError("--corpus: one of them is named twice")
    if len(roots) > len(names):
        raise UserError(f"--root: {len(roots)} folders for {len(names)} corpora; one for each, in their order")
    of_protocol = [word for word in words if word.startswith("protocol.")]
    if options.protocol is None and (options.part or options.fold or of_protocol):
        raise UserError("--protocol: missing; --part, --fold and protocol.key=value belong to one")
    asked = {}
    for i, name in enumerate(names):
        values: dict[str, Any] = {"name": "evaluation", "corpus": {"name": name}, "model": {"architecture": "crnn"}}
        if i < len(roots):
            values["corpus"]["root"] = roots[i]
        if options.protocol is not None:
            values["protocol"] = {"name": options.protocol}
        asked[name] = read_recipe(values, [*_settings(name, names, words), *of_protocol])
    return asked


def _settings(name: str, names: Sequence[str], words: Sequence[str]) -> Iterator[str]:
    """The words that are about one of the corpora, as a recipe's ``corpus.key=value``."""
    for word in words:
        whose, dot, rest = word.partition("=")[0].partition(".")
        if whose == "protocol":
            continue
        if not dot or whose in ("corpus", name):
            yield f"corpus.{word.removeprefix('corpus.').removeprefix(f'{name}.')}"
        elif whose not in names:
            raise UserError(
                f"{word}: {whose} is none of {', '.join(names)}; say corpus.KEY=VALUE or protocol.KEY=VALUE"
            )


def _chosen(options: argparse.Namespace, recipe: "Recipe") -> dict[str, Any]:
    """Which clips of a corpus judge, as `ser_hf.experiment.evaluation_data.select_test_clips` takes it."""
    if options.protocol is None and options.recipe is None:
        return {}
    own = recipe.protocol
    fold = own.folds[0] if len(own.folds or ()) == 1 else None
    return {
        "protocol": own.name,
        "options": own.options,
        "fold": options.fold or fold,
        "part": options.part or recipe.evaluation.part,
    }


def _label_map(given: str | None) -> dict[str, str]:
    """Raises a `UserError` naming ``--label-map`` for what is no map of words."""
    if given is None:
        return {}
    if given.endswith((".yaml", ".yml", ".json")):
        from ..utils.yaml import read_yaml

        found = read_yaml(given)
        if not isinstance(found, dict):
            raise UserError(f"--label-map: {given}: expected WORD: EMOTION lines")
        return {str(word): "none" if emotion is None else str(emotion) for word, emotion in found.items()}
    pairs = [pair.rpartition("=") for pair in given.split(",")]
    for word, equals, emotion in pairs:
        if not (equals and word and emotion):
            raise UserError(f"--label-map: expected WORD=EMOTION,... or a YAML file, got {given!r}")
    return {word.strip(): emotion.strip() for word, _, emotion in pairs}
