"""ser-hf export: a trained model as an ONNX file, from the waveform to probabilities, that runs without ser_hf."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from ..utils.errors import UserError
from .options import CorpusWords, Model, Revision, TrustRemoteCode, corpus_recipe

if TYPE_CHECKING:
    from ..corpora import Corpus
    from ..export.onnx import Export


def export(
    model: Model,
    words: CorpusWords = None,
    format: Annotated[str, Option(hidden=True)] = "onnx",
    int8: Annotated[
        bool, Option("--int8", help="Also write a file with int8 weights, and measure size, speed and accuracy.")
    ] = False,
    output: Annotated[
        str | None,
        Option(
            metavar="FILE",
            help="Ends with .onnx; a script that runs it is written beside it.  [default: exports/MODEL/model.onnx]",
        ),
    ] = None,
    clips: Annotated[
        list[str] | None,
        Option(
            metavar="AUDIO...",
            help="Recordings on which the file is compared with the model.  [default: clips that a run keeps for "
            "this, or built-in speech-like signals]",
        ),
    ] = None,
    corpus: Annotated[
        str | None, Option(metavar="NAME", help="Evaluate model and files on a corpus, such as ravdess.")
    ] = None,
    root: Annotated[
        str | None,
        Option(
            "--root",
            "--corpus-root",
            metavar="DIR",
            help="Its folder; without --corpus the folder of the run's own corpus, whose test split is used.",
        ),
    ] = None,
    revision: Revision = None,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Export a model to ONNX and compare it with the model.

    One file computes everything, from the waveform to probabilities, without ser_hf.

    Example: ser-hf export runs/ravdess_crnn --int8 --corpus-root data/RAVDESS --output crnn.onnx
    """
    if format != "onnx":
        raise UserError(f"--format: {format} files are not written any more; leave it out to export to ONNX")
    from ..export import export_model

    measured = _corpus(model, corpus, root, words or [], revision)
    loading = {"revision": revision, "trust_remote_code": trust_remote_code}
    export = export_model(model, output, int8=int8, clips=clips, **loading)
    files = export.files
    print(f"compared on {files['onnx'].difference.clips} {export.compared_on}:")
    for name, file in files.items():
        found, how = file.difference, "alone and padded" if file.padded else "one at a time"
        changed = f", another label for {found.changed}" if name == "int8" else ""
        print(
            f"{file.path}: {file.bytes / 1e6:.2f} MB, {file.milliseconds:.1f} ms a clip; {how}: logits up to "
            f"{found.logits:.2g} from the model's, probabilities {found.probabilities:.2g}{changed}"
        )
    print(f"  the model in torch: {export.milliseconds:.1f} ms a clip")
    if measured is not None:
        _evaluate(model, export, *measured, loading)
    print(f"  run it: python {export.script} {list(files.values())[-1].path} recording.wav")


def _evaluate(model: str, export: "Export", corpus: "Corpus", chosen: dict[str, Any], loading: dict[str, Any]) -> None:
    """Prints the accuracy of the model and of its files on the same clips of a corpus."""
    import numpy as np

    from ..experiment.evaluate import EvaluationSettings, evaluate_on_corpus, load_evaluated_model

    settings = EvaluationSettings(bootstrap=1)
    # Speakers of the training split may take part: one model's files are compared with each other.
    loaded = load_evaluated_model(model, device="cpu", **loading)
    own = evaluate_on_corpus(loaded, corpus, "model", settings, heard=True, **chosen)
    uar, expected = own.report["metrics"]["uar"], own.predictions.probabilities[0]
    print(f"  on {len(own.predictions)} clips: the model has UAR {uar:.4f}, WA {own.report['metrics']['wa']:.4f}")
    for name, file in export.files.items():
        loaded = load_evaluated_model(str(file.path))
        evaluation = evaluate_on_corpus(loaded, corpus, name, settings, heard=True, **chosen)
        metrics, found = evaluation.report["metrics"], evaluation.predictions.probabilities[0]
        changed = int((found.argmax(axis=1) != expected.argmax(axis=1)).sum())
        print(
            f"    {name}: UAR {metrics['uar']:.4f} ({metrics['uar'] - uar:+.4f}), WA {metrics['wa']:.4f}; another "
            f"label for {changed} clips, probabilities differ by up to {np.abs(found - expected).max():.2g}"
        )


def _corpus(
    model: str, corpus: str | None, root: str | None, words: Sequence[str], revision: str | None
) -> "tuple[Corpus, dict[str, Any]] | None":
    """The corpus to evaluate on and the choice of its clips; None if no corpus is named."""
    for word in words:
        if "=" not in word:
            raise UserError(f"{word}: expected key=value of a corpus; name recordings with --clips")
    if corpus is not None:
        from ..experiment.data import load_recipe_corpus

        return load_recipe_corpus(corpus_recipe(corpus, root, words)), {}
    if root is not None:
        return run_corpus(model, root, words, revision)
    if words:
        raise UserError(f"{words[0]}: belongs to a corpus; name it (--corpus) or its folder (--root)")
    return None


def run_corpus(
    model: str, root: str | None = None, words: Sequence[str] = (), revision: str | None = None
) -> "tuple[Corpus, dict[str, Any]]":
    """The corpus of a run and the arguments of `select_test_clips` that choose its test split.

    Args:
        root: its folder, in place of the recipe's.
        words: overrides of the recipe, ``section.key=value``.

    Raises:
        UserError: naming ``--root``, if no recipe is saved with the model.
    """
    from ..experiment.data import load_recipe_corpus
    from ..experiment.evaluation_data import training_provenance
    from ..experiment.recipe_checks import read_recipe
    from ..inference.classifier import published_file
    from ..utils.run_folder import RunFolder

    folder = RunFolder(model)
    place = str(folder.model) if folder.model.is_dir() else model
    path = published_file(place, "recipe.yaml", revision)
    if path is None:
        raise UserError(f"--root: no recipe is saved with {model}; name the --corpus as well")
    recipe = read_recipe(path, [*([] if root is None else [f"corpus.root={root}"]), *words])
    protocol, provenance = recipe.protocol, training_provenance(place, revision)
    folds = protocol.folds or ()
    chosen = {"protocol": protocol.name, "options": protocol.options, "part": recipe.evaluation.part}
    chosen["fold"] = folds[0] if len(folds) == 1 else provenance and provenance.fold
    return load_recipe_corpus(recipe), chosen
