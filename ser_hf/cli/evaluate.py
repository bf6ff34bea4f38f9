"""ser-hf evaluate: a trained model of any origin on a corpus."""

import os
from pathlib import Path
from typing import Annotated, Literal

from typer import Option

from ..utils.errors import UserError
from .options import (
    BatchSize,
    Corpus,
    CorpusRecipe,
    CorpusWords,
    Device,
    Json,
    Model,
    Overwrite,
    Revision,
    Root,
    TrustRemoteCode,
    Window,
    as_json,
    corpus_recipe,
    recipe_path,
)


def evaluate(
    model: Model,
    words: CorpusWords = None,
    corpus: Corpus = None,
    root: Root = None,
    recipe: CorpusRecipe = None,
    protocol: Annotated[
        str | None, Option(metavar="NAME", help="Evaluate one split.  [default: the whole corpus]")
    ] = None,
    part: Annotated[
        Literal["train", "validation", "test"] | None, Option(help="That split.  [default: test]")
    ] = None,
    fold: Annotated[
        int | None, Option(metavar="N", help="Which fold, of a protocol with folds.")
    ] = None,
    label_map: Annotated[
        str | None,
        Option(
            metavar="MAP",
            help="Emotions of the model's labels, as WORD=EMOTION,...; none leaves a label out.",
        ),
    ] = None,
    training_speakers: Annotated[
        bool, Option("--training-speakers", help="Also evaluate on speakers of its training.")
    ] = False,
    output: Annotated[
        str | None, Option(metavar="DIR", help="[default: evaluations/MODEL-on-CORPUS]")
    ] = None,
    overwrite: Overwrite = False,
    robustness: Annotated[
        bool, Option("--robustness", help="Also under noise, in rooms, over telephones.")
    ] = False,
    window: Window = None,
    batch_size: BatchSize = 16,
    bootstrap: Annotated[int, Option(metavar="N", help="Resamples of the intervals.")] = 2000,
    device: Device = None,
    revision: Revision = None,
    trust_remote_code: TrustRemoteCode = False,
    json: Json = False,
) -> None:
    """Evaluate a trained model of any origin on a corpus.

    Writes a report. `ser-hf compare` puts several of them side by side.

    Example: ser-hf evaluate runs/ravdess_crnn --corpus emodb --root data/EMO-DB --output
    evaluations/crnn_on_emodb
    """
    if recipe is None:
        if protocol is None and (
            part or fold or any(word.startswith("protocol.") for word in words or ())
        ):
            raise UserError("--protocol: missing; --part, --fold and protocol.key=value need it")
        own = corpus_recipe(corpus, root, words, protocol)
    elif corpus or root or protocol:
        raise UserError(
            "--recipe: names its corpus and protocol itself; leave out --corpus, --root and --protocol"
        )
    else:
        from ..experiment.recipe_checks import read_recipe

        own = read_recipe(recipe_path(recipe), words or ())
    name = (
        Path(os.path.abspath(model).removesuffix(f"{os.sep}model")).name
        if os.path.exists(model)
        else model
    )
    title = f"{name} on {own.corpus.name}"
    folder = Path(output or Path("evaluations", title.replace(" ", "-").replace("/", "-")))

    from ..corpora import corpus_facts
    from ..experiment import evaluate as evaluation
    from ..experiment.data import load_recipe_corpus
    from ..report.terminal import evaluation_summary

    evaluation.require_place(folder, overwrite)
    chosen = {}
    if protocol is not None or recipe is not None:
        only = own.protocol.folds[0] if len(own.protocol.folds or ()) == 1 else None
        chosen = {"protocol": own.protocol.name, "protocol_options": own.protocol.options}
        chosen |= {"fold": fold or only, "part": part or own.evaluation.part}
    settings = evaluation.EvaluationSettings(
        window,
        batch_size,
        bootstrap,
        robustness=robustness,
        training_speakers=training_speakers,
        **chosen,
    )
    labels = _label_map(label_map)
    rows = load_recipe_corpus(own)
    loaded = evaluation.load_evaluated_model(
        model, labels, device=device, revision=revision, trust_remote_code=trust_remote_code
    )
    facts = corpus_facts(own.corpus.name, own.corpus.options)
    report = evaluation.evaluate_on_corpus(loaded, rows, title, settings, folder, facts)
    page = (folder / "index.html").absolute().as_uri()
    print(as_json(report.to_dict()) if json else f"{evaluation_summary(report)}\nreport: {page}")


def _label_map(text: str | None) -> dict[str, str]:
    """The emotion of each label of the model, from ``--label-map``."""
    if text is None:
        return {}
    pairs = [pair.rpartition("=") for pair in text.split(",")]
    if not all(equals and word and emotion for word, equals, emotion in pairs):
        raise UserError(f"--label-map: expected WORD=EMOTION,..., got {text!r}")
    return {word.strip(): emotion.strip() for word, _, emotion in pairs}
