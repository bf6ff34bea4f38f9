"""ser-hf export: a trained model as one file, from the waveform to probabilities, that needs no ser_hf."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from ..corpora import Corpus
    from ..export.model_file import Exported

EXAMPLE = "ser-hf export runs/ravdess_crnn --int8 --corpus-root data/RAVDESS --output crnn.onnx"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a run's folder, a model folder or a Hub id, of any audio classifier")
    parser.add_argument(
        "options",
        nargs="*",
        metavar="key=value",
        help="of the --corpus; of the run's own corpus section.key=value",
    )
    parser.add_argument(
        "--format",
        choices=("onnx", "torch"),
        default="onnx",
        help="ONNX, or a program of torch.export (.pt2); TorchScript is deprecated since torch 2.12 and not written "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--int8", action="store_true", help="of ONNX also a file with int8 weights, and what it saves and costs"
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="ends with .onnx or .pt2; of ONNX a script that runs it is written beside it "
        "(default: exports/MODEL/model.onnx or .pt2)",
    )
    parser.add_argument(
        "--clips",
        nargs="+",
        metavar="AUDIO",
        help="recordings on which the file has to answer as the model does (default: those that a run keeps for it, "
        "or built-in speech-like signals)",
    )
    parser.add_argument("--corpus", metavar="NAME", help="measure the cost on a corpus, such as ravdess")
    parser.add_argument(
        "--root",
        "--corpus-root",
        metavar="DIR",
        help="its folder; without --corpus that of the run's own corpus, of which the judged part is measured on",
    )
    parser.add_argument("--revision", metavar="REV", help="branch, tag or commit of a model on the Hub")
    parser.add_argument(
        "--trust-remote-code", action="store_true", help="run code that a model of others brings; ours need none"
    )


def run(options: argparse.Namespace) -> None:
    """Writes the files and says how they were checked, what they take and what they cost."""
    # Imported late: `--help` must not wait for these.
    from ..export.model_file import export_model

    corpus, chosen = _corpus(options)
    exports = export_model(
        options.model,
        options.output,
        format=options.format,
        int8=options.int8,
        clips=None if options.clips is None else _clips(options),
        corpus=corpus,
        chosen=chosen,
        revision=options.revision,
        trust_remote_code=options.trust_remote_code,
    )
    first = next(iter(exports.files.values()))
    print(f"compared on {first.difference.clips} {exports.compared_on}:")
    for name, file in exports.files.items():
        print(_line(name, file))
    print(f"  the model in torch: {exports.milliseconds:.1f} ms a clip")
    if exports.cost is not None:
        print(f"  on {exports.cost.clips} clips: the model has UAR {exports.cost.uar:.4f}, WA {exports.cost.wa:.4f}")
        for name, file in exports.files.items():
            cost = file.cost
            print(
                f"    {name}: UAR {cost.uar:.4f} ({cost.uar - exports.cost.uar:+.4f}), WA {cost.wa:.4f}; other "
                f"answers to {cost.changed} clips, probabilities up to {cost.largest:.2g} away"
            )
    if exports.script is not None:
        model = list(exports.files.values())[-1].path
        print(f"  run it: python {exports.script} {model} recording.wav")


def _line(name: str, file: "Exported") -> str:
    found = file.difference
    how = "alone and padded" if file.padded else "one at a time"
    changed = f", another label for {found.changed}" if name == "int8" else ""
    return (
        f"{file.path}: {file.bytes / 1e6:.2f} MB, {file.milliseconds:.1f} ms a clip; {how}: logits up to "
        f"{found.logits:.2g} from the model's, probabilities {found.probabilities:.2g}{changed}"
    )


def _clips(options: argparse.Namespace) -> "list[np.ndarray]":
    from ..audio.decode import decode
    from ..prediction.expert import load_expert

    loading = {"revision": options.revision, "trust_remote_code": options.trust_remote_code}
    rate = load_expert(options.model, device="cpu", **loading).extractor.sampling_rate
    return [decode(path, None, rate).samples for path in options.clips]


def _corpus(options: argparse.Namespace) -> "tuple[Corpus | None, dict[str, Any]]":
    """The corpus to measure on and which of its clips judge; None where none is named."""
    for word in options.options:
        if "=" not in word:
            raise UserError(f"{word}: besides the model only key=value of a corpus; name recordings with --clips")
    if options.corpus is None and options.root is None:
        if options.options:
            raise UserError(f"{options.options[0]}: belongs to a corpus; name it (--corpus) or its folder (--root)")
        return None, {}
    if options.corpus is not None:
        from ..material import read_corpus_of
        from ..recipe import read_recipe

        corpus = {"name": options.corpus} | ({} if options.root is None else {"root": options.root})
        values = {"name": "export", "corpus": corpus, "model": {"architecture": "crnn"}}
        words = [f"corpus.{word.removeprefix('corpus.')}" for word in options.options]
        return read_corpus_of(read_recipe(values, words)), {}
    return run_corpus(options.model, options.root, options.options, options.revision)


def run_corpus(
    model: str, root: str | None = None, words: Sequence[str] = (), revision: str | None = None
) -> "tuple[Corpus, dict[str, Any]]":
    """The corpus that a model of ours was made on, and which of its clips judged it: as
    `ser_hf.judging.clips.clips_for` takes them.

    Args:
        root: its folder, in place of the recipe's.
        words: of the recipe, ``section.key=value``.

    Raises:
        UserError: naming ``--root``, where the model does not tell of its recipe.
    """
    from ..judging.learnt import learnt_from
    from ..material import read_corpus_of
    from ..prediction.expert import published_file
    from ..recipe import read_recipe
    from ..run_folder import RunFolder

    folder = RunFolder(model)
    place = str(folder.model) if folder.model.is_dir() else model
    path = published_file(place, "recipe.yaml", revision)
    if path is None:
        raise UserError(f"--root: {model} tells of no recipe, whose corpus it could be; name the --corpus too")
    recipe = read_recipe(path, [*([] if root is None else [f"corpus.root={root}"]), *words])
    protocol, learnt = recipe.protocol, learnt_from(place, revision)
    folds = protocol.folds or ()
    chosen = {"protocol": protocol.name, "options": protocol.options, "part": recipe.evaluation.part}
    chosen["fold"] = folds[0] if len(folds) == 1 else learnt and learnt.fold
    return read_corpus_of(recipe), chosen
