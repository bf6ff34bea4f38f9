"""ser-hf export: a trained model as an ONNX file, from the waveform to probabilities, that runs without ser_hf."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..utils.errors import UserError

if TYPE_CHECKING:
    from ..corpora import Corpus
    from ..export.verified_export import Export

EXAMPLE = "ser-hf export runs/ravdess_crnn --int8 --corpus-root data/RAVDESS --output crnn.onnx"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a run folder, a model folder or a Hub id, of any audio classifier")
    parser.add_argument(
        "options",
        nargs="*",
        metavar="key=value",
        help="options of the --corpus; for the run's own corpus section.key=value",
    )
    parser.add_argument("--format", default="onnx", help=argparse.SUPPRESS)
    parser.add_argument(
        "--int8", action="store_true", help="also write a file with int8 weights, and measure size, speed and accuracy"
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="ends with .onnx; a script that runs it is written beside it (default: exports/MODEL/model.onnx)",
    )
    parser.add_argument(
        "--clips",
        nargs="+",
        metavar="AUDIO",
        help="recordings on which the file is compared with the model (default: clips that a run keeps for this, or "
        "built-in speech-like signals)",
    )
    parser.add_argument("--corpus", metavar="NAME", help="evaluate model and files on a corpus, such as ravdess")
    parser.add_argument(
        "--root",
        "--corpus-root",
        metavar="DIR",
        help="its folder; without --corpus, the folder of the run's own corpus, whose test split is used",
    )
    parser.add_argument("--revision", metavar="REV", help="branch, tag or commit of a model on the Hub")
    parser.add_argument(
        "--trust-remote-code", action="store_true", help="run code from the model's repository; ours need none"
    )


def run(options: argparse.Namespace) -> None:
    """Writes the files and prints how they differ from the model, their size, speed and accuracy."""
    if options.format != "onnx":
        raise UserError(f"--format: {options.format} files are not written any more; leave it out to export to ONNX")
    # Imported late: `--help` must not wait for these.
    from ..export import export_model

    measured = _corpus(options)
    loading = {"revision": options.revision, "trust_remote_code": options.trust_remote_code}
    export = export_model(options.model, options.output, int8=options.int8, clips=options.clips, **loading)
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
        _evaluate(options.model, export, *measured, loading)
    if export.script is not None:
        print(f"  run it: python {export.script} {list(files.values())[-1].path} recording.wav")


def _evaluate(model: str, export: "Export", corpus: "Corpus", chosen: dict[str, Any], loading: dict[str, Any]) -> None:
    """Prints accuracy of the model and of its files on the same clips of a corpus."""
    import numpy as np

    from ..experiment.evaluate import EvaluationSettings, candidate, evaluate_on_corpus

    manner = EvaluationSettings(bootstrap=1)
    # Speakers of the training split may take part: one model's files are compared with each other.
    own = evaluate_on_corpus(candidate(model, device="cpu", **loading), corpus, "model", manner, heard=True, **chosen)
    uar = own.report["metrics"]["uar"]
    print(f"  on {len(own.judged)} clips: the model has UAR {uar:.4f}, WA {own.report['metrics']['wa']:.4f}")
    expected = own.judged.probabilities[0]
    for name, file in export.files.items():
        judged = evaluate_on_corpus(candidate(str(file.path)), corpus, name, manner, heard=True, **chosen)
        metrics, found = judged.report["metrics"], judged.judged.probabilities[0]
        changed = int((found.argmax(axis=1) != expected.argmax(axis=1)).sum())
        print(
            f"    {name}: UAR {metrics['uar']:.4f} ({metrics['uar'] - uar:+.4f}), WA {metrics['wa']:.4f}; another "
            f"label for {changed} clips, probabilities up to {np.abs(found - expected).max():.2g} away"
        )


def _corpus(options: argparse.Namespace) -> "tuple[Corpus, dict[str, Any]] | None":
    """The corpus to evaluate on and the choice of its clips; None if no corpus is named."""
    for word in options.options:
        if "=" not in word:
            raise UserError(f"{word}: expected key=value of a corpus; name recordings with --clips")
    if options.corpus is None and options.root is None:
        if options.options:
            raise UserError(f"{options.options[0]}: belongs to a corpus; name it (--corpus) or its folder (--root)")
        return None
    if options.corpus is not None:
        from ..experiment.data import load_recipe_corpus
        from ..experiment.recipe_checks import read_recipe

        corpus = {"name": options.corpus} | ({} if options.root is None else {"root": options.root})
        values = {"name": "export", "corpus": corpus, "model": {"architecture": "crnn"}}
        words = [f"corpus.{word.removeprefix('corpus.')}" for word in options.options]
        return load_recipe_corpus(read_recipe(values, words)), {}
    return run_corpus(options.model, options.root, options.options, options.revision)


def run_corpus(
    model: str, root: str | None = None, words: Sequence[str] = (), revision: str | None = None
) -> "tuple[Corpus, dict[str, Any]]":
    """The corpus of a run and the arguments of `select_test_clips` that choose its test split.

    Args:
        root: its folder, in place of the recipe's.
        words: changes of the recipe, ``section.key=value``.

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
    protocol, learnt = recipe.protocol, training_provenance(place, revision)
    folds = protocol.folds or ()
    chosen = {"protocol": protocol.name, "options": protocol.options, "part": recipe.evaluation.part}
    chosen["fold"] = folds[0] if len(folds) == 1 else learnt and learnt.fold
    return load_recipe_corpus(recipe), chosen
