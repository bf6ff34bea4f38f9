"""ser-hf evaluate: a trained model of any origin on a corpus."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from typer import Option

from ..utils.errors import UserError
from .options import (
    Adapt,
    AdaptFrom,
    BatchSize,
    Corpus,
    CorpusRecipe,
    CorpusWords,
    Device,
    Json,
    LabelNames,
    Model,
    NoAudio,
    Overwrite,
    Pictures,
    Revision,
    Root,
    TrustRemoteCode,
    Window,
    as_json,
    corpus_recipe,
    names_of_labels,
    recipe_path,
)

if TYPE_CHECKING:
    from ..experiment.evaluated_clips import EvaluationOptions
    from ..experiment.recipe import Recipe


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
    adapt: Adapt = None,
    adapt_from: AdaptFrom = None,
    noise_folder: Annotated[
        str | None, Option(metavar="DIR", help="With --robustness: recordings of noise to add.")
    ] = None,
    impulse_folder: Annotated[
        str | None, Option(metavar="DIR", help="With --robustness: impulse responses of rooms.")
    ] = None,
    map: Annotated[
        Literal["pca", "tsne", "umap", "none"],
        Option(help="Map of the embeddings, by emotion and by speaker."),
    ] = "pca",
    no_audio: NoAudio = False,
    pictures: Pictures = None,
    window: Window = None,
    batch_size: BatchSize = 16,
    bootstrap: Annotated[int, Option(metavar="N", help="Resamples of the intervals.")] = 2000,
    device: Device = None,
    revision: Revision = None,
    trust_remote_code: TrustRemoteCode = False,
    label_names: LabelNames = None,
    json: Json = False,
) -> None:
    """Evaluate a trained model of any origin on a corpus.

    Writes a report. `ser-hf compare` puts several of them side by side.

    Example: ser-hf evaluate runs/ravdess_crnn --corpus emodb --root data/EMO-DB --output
    evaluations/crnn_on_emodb
    """
    if (
        recipe is None
        and protocol is None
        and (part is not None or fold is not None or _sets_protocol(words))
    ):
        raise UserError("--protocol: missing; --part, --fold and protocol.key=value need it")
    if recipe is None:
        data = corpus_recipe(corpus, root, words, protocol)
    else:
        data = _read_recipe(recipe, words, corpus=corpus, root=root, protocol=protocol)
    title = f"{_model_name(model)} on {data.corpus.name}"
    folder = Path(output or Path("evaluations", title.replace(" ", "-").replace("/", "-")))

    from ..corpora import corpus_facts
    from ..evaluation.maps import require_installed
    from ..experiment import evaluate as evaluation
    from ..experiment.data import load_recipe_corpus
    from ..report.terminal import evaluation_summary

    evaluation.check_evaluation_folder(folder, overwrite)
    require_installed(map, "--map")
    settings = evaluation.EvaluationOptions(
        window=window,
        batch_size=batch_size,
        bootstrap=bootstrap,
        robustness=robustness,
        adapt=adapt,
        adapt_from=adapt_from,
        noise_folder=noise_folder,
        impulse_folder=impulse_folder,
        map=None if map == "none" else map,
        audio=not no_audio,
        pictures=pictures,
        training_speakers=training_speakers,
    )
    if protocol is not None or recipe is not None:
        settings = _on_split(settings, data, part, fold)
    labels = _label_map(label_map)
    clips = load_recipe_corpus(data)
    loaded = evaluation.load_evaluated_model(
        model,
        labels,
        device=device,
        revision=revision,
        trust_remote_code=trust_remote_code,
        label_names=names_of_labels(label_names),
    )
    facts = corpus_facts(data.corpus.name, data.corpus.options)
    report = evaluation.evaluate_on_corpus(loaded, clips, title, settings, folder, facts)

    if json:
        print(as_json(report.to_dict()))
    else:
        page = (folder / "index.html").absolute().as_uri()
        print(f"{evaluation_summary(report)}\nreport: {page}")


def _sets_protocol(words: Sequence[str] | None) -> bool:
    """Whether a word on the command line is a key of the protocol."""
    return any(word.startswith("protocol.") for word in words or ())


def _read_recipe(
    recipe: str,
    words: Sequence[str] | None,
    *,
    corpus: str | None,
    root: str | None,
    protocol: str | None,
) -> "Recipe":
    """Read the recipe for corpus and protocol; options that name these too are refused."""
    from ..experiment.reading import read_recipe

    if corpus or root or protocol:
        raise UserError(
            "--recipe: names its corpus and protocol itself; leave out --corpus, --root and "
            "--protocol"
        )
    return read_recipe(recipe_path(recipe), words or ())


def _model_name(model: str) -> str:
    """Return the name of a run folder, a model folder or a file; a Hub id is returned unchanged."""
    if not os.path.exists(model):
        return model
    return Path(os.path.abspath(model).removesuffix(f"{os.sep}model")).name


def _on_split(
    settings: "EvaluationOptions", recipe: "Recipe", part: str | None, fold: int | None
) -> "EvaluationOptions":
    """Return the settings for an evaluation on one split of the recipe's protocol."""
    folds = recipe.protocol.folds
    if fold is None and folds is not None and len(folds) == 1:
        fold = folds[0]
    return settings.replace(
        protocol=recipe.protocol.name,
        protocol_options=recipe.protocol.options,
        fold=fold,
        part=part or recipe.evaluation.part,
    )


def _label_map(text: str | None) -> dict[str, str]:
    """Read ``--label-map``: the emotion for each label of the model."""
    if text is None:
        return {}
    pairs = [pair.rpartition("=") for pair in text.split(",")]
    if not all(equals and word and emotion for word, equals, emotion in pairs):
        raise UserError(f"--label-map: expected WORD=EMOTION,..., got {text!r}")
    return {word.strip(): emotion.strip() for word, _, emotion in pairs}
