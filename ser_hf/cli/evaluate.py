"""ser-hf evaluate: trained models of any origin on one or several corpora."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, Option

from ..utils.errors import UserError
from .options import BatchSize, Device, Overwrite, Revision, TrustRemoteCode, corpus_recipe, recipe_path

if TYPE_CHECKING:
    from ..experiment.recipe import Recipe


def evaluate(
    words: Annotated[
        list[str],
        Argument(
            metavar="MODEL",
            help="Run folders, model folders or Hub ids, of any audio classifier; and options of the corpus as "
            "key=value (of one of several as NAME.key=value), of the protocol as protocol.key=value.",
        ),
    ],
    corpus: Annotated[list[str] | None, Option(metavar="NAME", help="A corpus, such as ravdess; repeatable.")] = None,
    root: Annotated[list[str] | None, Option(metavar="DIR", help="The folder of each --corpus, in order.")] = None,
    recipe: Annotated[
        str | None, Option(metavar="RECIPE", help="The corpus and protocol of a recipe or a run.")
    ] = None,
    protocol: Annotated[
        str | None, Option(metavar="NAME", help="Evaluate one split.  [default: the whole corpus]")
    ] = None,
    part: Annotated[Literal["train", "validation", "test"] | None, Option(help="That split.  [default: test]")] = None,
    fold: Annotated[int | None, Option(metavar="N", help="Which fold, of a protocol with folds.")] = None,
    label_map: Annotated[
        str | None,
        Option(
            metavar="MAP",
            help="The emotion of each label of the model, as WORD=EMOTION,... or a YAML file; none leaves a label "
            "out.  [default: emotions and their common names are recognized]",
        ),
    ] = None,
    training_speakers: Annotated[
        bool, Option("--training-speakers", help="Also evaluate on speakers of its training.")
    ] = False,
    output: Annotated[str | None, Option(metavar="DIR", help="[default: evaluations/MODEL-on-CORPUS]")] = None,
    overwrite: Overwrite = False,
    robustness: Annotated[bool, Option("--robustness", help="Also under noise, in rooms, over codecs.")] = False,
    embeddings: Annotated[bool, Option("--embeddings", help="Draw a map of the clips' embeddings.")] = False,
    window: Annotated[
        float | None, Option(metavar="SECONDS", help="Split longer clips.  [default: as in its evaluation]")
    ] = None,
    batch_size: BatchSize = 16,
    bootstrap: Annotated[int, Option(metavar="N", help="Resamples of the intervals.")] = 2000,
    device: Device = None,
    revision: Revision = None,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Evaluate trained models of any origin on corpora.

    Writes a report for each model and corpus and, for several, a matrix.

    Example: ser-hf evaluate runs/ravdess_crnn --corpus emodb --root data/EMO-DB --output evaluations/crnn_on_emodb
    """
    models = [word for word in words if "=" not in word or os.path.exists(word)]
    words = [word for word in words if word not in models]
    if not models:
        raise UserError("MODEL: missing; name a run folder, a model folder or a Hub id")
    if len({os.path.realpath(model).removesuffix(f"{os.sep}model") for model in models}) < len(models):
        raise UserError("MODEL: one of them is named twice")
    if recipe is not None:
        if corpus or root or protocol:
            raise UserError(
                "--recipe: names its corpus and protocol itself; leave out --corpus, --root and --protocol"
            )
        from ..experiment.recipe_checks import read_recipe

        own = read_recipe(recipe_path(recipe), words)
        recipes = {own.corpus.name: own}
    else:
        if protocol is None and (part or fold or any(word.startswith("protocol.") for word in words)):
            raise UserError("--protocol: missing; --part, --fold and protocol.key=value belong to one")
        recipes = _recipes(corpus or [], root or [], protocol, words)
    names = _names(models)
    default = "+".join(names.values())[:80] + "-on-" + "+".join(recipes)[:80]
    folder = Path(output or Path("evaluations") / default)

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
    from ..utils.files import atomic_folder

    require_place(folder, overwrite)
    if len(models) * len(recipes) > 1:
        raise UserError("MODEL: name one model and one corpus")
    labels, ((_, own),) = _label_map(label_map), recipes.items()
    whole = protocol is None and recipe is None
    chosen = {} if whole else _chosen(own, part, fold)
    settings = EvaluationSettings(
        window,
        batch_size,
        bootstrap,
        robustness=robustness,
        embeddings=embeddings,
        training_speakers=training_speakers,
        **chosen,
    )
    rows = load_recipe_corpus(own)
    loaded = load_evaluated_model(
        models[0], labels, device=device, revision=revision, trust_remote_code=trust_remote_code
    )
    with atomic_folder(folder, "--output") as partial:
        title = f"{names[models[0]]} on {own.corpus.name}"
        evaluation = evaluate_on_corpus(loaded, rows, title, settings)
        write_evaluation(partial, evaluation, corpus_facts(own.corpus.name, own.corpus.options))
    print(summary(evaluation.report))
    print(f"report: {folder / 'index.html'}")


def _names(models: Sequence[str]) -> dict[str, str]:
    """A short, unique name for each model: a Hub id, or as many last parts of the paths as are needed."""
    paths = {
        model: [part for part in Path(os.path.abspath(model)).parts[1:] if part != "model"]
        for model in models
        if os.path.isdir(model)
    }
    for count in range(1, max(map(len, paths.values()), default=0) + 2):
        names = {
            model: "-".join(paths[model][-count:]) if model in paths else model.replace("/", "-") for model in models
        }
        if len(set(names.values())) == len(models):
            return names
    return {model: f"{name}-{number}" for number, (model, name) in enumerate(names.items(), 1)}


def _recipes(
    names: Sequence[str], roots: Sequence[str], protocol: str | None, words: Sequence[str]
) -> dict[str, "Recipe"]:
    """A recipe with the corpus and the protocol, for each corpus by its name."""
    if not names:
        raise UserError("--corpus: missing; name a corpus and its folder (--root), or a recipe (--recipe)")
    if len(set(names)) < len(names):
        raise UserError("--corpus: one of them is named twice")
    if len(roots) > len(names):
        raise UserError(f"--root: {len(roots)} folders for {len(names)} corpora; one for each, in their order")
    padded = [*roots, *[None] * (len(names) - len(roots))]
    return {
        name: corpus_recipe(name, root, list(_overrides(name, names, words)), protocol)
        for name, root in zip(names, padded, strict=True)
    }


def _overrides(name: str, names: Sequence[str], words: Sequence[str]) -> Iterator[str]:
    """The words that concern one of the corpora, as overrides of its recipe."""
    for word in words:
        section, dot, _ = word.partition("=")[0].partition(".")
        if section == "protocol":
            yield word
        elif not dot or section in ("corpus", name):
            yield f"corpus.{word.removeprefix('corpus.').removeprefix(f'{name}.')}"
        elif section not in names:
            raise UserError(
                f"{word}: expected {', '.join(f'{known}.KEY=VALUE' for known in (*names, 'corpus', 'protocol'))}, "
                f"and {section} is not among them"
            )


def _chosen(recipe: "Recipe", part: str | None, fold: int | None) -> dict[str, Any]:
    """The clips of a corpus to evaluate on: arguments of `ser_hf.experiment.evaluate.EvaluationSettings`."""
    own = recipe.protocol
    only = own.folds[0] if len(own.folds or ()) == 1 else None
    return {
        "protocol": own.name,
        "protocol_options": own.options,
        "fold": fold or only,
        "part": part or recipe.evaluation.part,
    }


def _label_map(given: str | None) -> dict[str, str]:
    """The emotion of each label of the model, from ``--label-map``."""
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
