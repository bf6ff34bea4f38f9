"""From a model's name to a file that answers as it does, checked before it stands."""

import dataclasses
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..corpora import Corpus
from ..errors import UserError
from ..hub.reference import read_reference
from ..models.preparation import PreparedFeatureExtractor
from ..prediction.expert import Expert, load_expert
from ..run_folder import RunFolder
from .comparison import Difference, built_in_clips, difference, milliseconds, own_answers
from .corpus_cost import Cost, corpus_costs
from .onnx import export_onnx
from .quantization import quantize
from .session import OnnxSession
from .torch_program import TorchProgram, export_torch

logger = logging.getLogger(__name__)

TOLERANCE = 1e-3  # of a logit; above it a file is refused
SCRIPT = "run_onnx.py"
_SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}


@dataclasses.dataclass(frozen=True)
class Exported:
    """A file that was written.

    Args:
        bytes: of the file.
        difference: from the model in torch, on the clips that it was compared on; `padded` tells whether they were
            asked about in one batch as well, which is not done where padding changes answers.
        milliseconds: a clip, the reference clips one at a time on the CPU.
        cost: on the clips of a corpus, where one was named.
    """

    path: Path
    bytes: int
    difference: Difference
    padded: bool
    milliseconds: float
    cost: Cost | None = None


@dataclasses.dataclass(frozen=True)
class Exports:
    """Files of one model, by ``onnx``, ``int8`` and ``torch``; which clips they were compared on, in words; what the
    model itself takes in torch (`milliseconds`), and its own figures on the corpus; the script beside an ONNX file."""

    files: dict[str, Exported]
    compared_on: str
    milliseconds: float
    cost: Cost | None
    script: Path | None


def export_model(
    source: str | os.PathLike,
    output: str | os.PathLike | None = None,
    *,
    format: str = "onnx",
    int8: bool = False,
    clips: Sequence[np.ndarray] | None = None,
    corpus: Corpus | None = None,
    chosen: Mapping[str, Any] | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> Exports:
    """Writes an audio classifier to a file, from the waveform to probabilities, and holds it to the model.

    Args:
        source: a run's folder, a model folder or a Hub id, ours or any that transformers can load.
        output: the file (None: ``exports/NAME/model.onnx``, or ``.pt2``); a file that stands there is replaced. With
            `int8` another is written beside it, ``model.int8.onnx``.
        format: ``"onnx"`` or ``"torch"`` (`torch.export`).
        int8: quantise the weights as well.
        clips: waveforms, float32 (samples,) at the model's rate, to compare answers on; None takes the clips that a
            run keeps for that (`ser_hf.hub.reference`), and of other models built-in ones.
        corpus, chosen: clips to measure the cost on, as `ser_hf.judging.clips.clips_for` chooses them.

    Raises:
        UserError: naming the model or the argument that is wrong; if the file's answers are further from the model's
            than `TOLERANCE`, in which case none is left.
    """
    if format not in _SUFFIXES:
        raise UserError(f"--format: {format!r} is none of {', '.join(_SUFFIXES)}")
    if int8 and format != "onnx":
        raise UserError("--int8: belongs to --format onnx")
    path = _place(source, output, format)
    if os.fspath(source).endswith(_SUFFIXES["onnx"]):
        raise UserError(f"{source}: exported already; name the model that it was made of")
    expert = load_expert(source, revision=revision, device="cpu", trust_remote_code=trust_remote_code)
    compared_on = "clips that were given"
    if clips is None:
        clips, compared_on = _reference(source, expert.extractor.sampling_rate)
    expected = own_answers(expert, clips)
    extractor = expert.extractor
    if expert.preparation.active:
        extractor = PreparedFeatureExtractor.from_stock(extractor, expert.preparation)
    facts = {"model": _name(expert.source), "revision": expert.revision, "window_seconds": expert.judged_window}

    logger.info("%s to %s, which may take a minute", expert.source, path)
    write, ask = (export_onnx, OnnxSession) if format == "onnx" else (export_torch, TorchProgram)
    unchecked = path.with_name(f"{path.stem}.unchecked{path.suffix}")
    files = {}
    try:
        write(expert.model, unchecked, extractor, facts)
        files[format] = _checked(ask(unchecked), unchecked, path, clips, expected, expert, TOLERANCE)
    finally:
        unchecked.unlink(missing_ok=True)
    if int8:
        logger.info("weights to int8")
        small = path.with_name(f"{path.stem}.int8{path.suffix}")
        quantize(path, small)
        files["int8"] = _checked(OnnxSession(small), small, small, clips, expected, expert, np.inf)
    cost = None
    if corpus is not None:
        logger.info("the cost on a corpus")
        cost, files = _costs(expert, files, corpus, dict(chosen or {}))
    script = _script(list(files.values())[-1].path) if format == "onnx" else None
    own = milliseconds(lambda clip: own_answers(expert, [clip]), clips)
    return Exports(files, compared_on, own, cost, script)


def _reference(source: str | os.PathLike, sampling_rate: int) -> tuple[list[np.ndarray], str]:
    """Clips to compare answers on, and what they are."""
    if RunFolder(source).reference.is_file():
        clips, _ = read_reference(source)
        if len(clips) > 1:
            return clips, "clips of its run's judged part"
    return built_in_clips(sampling_rate), "built-in speech-like signals"


def _place(source: str | os.PathLike, output: str | os.PathLike | None, format: str) -> Path:
    suffix = _SUFFIXES[format]
    if output is None:
        return Path("exports") / _name(os.fspath(source)) / f"model{suffix}"
    path = Path(output)
    if path.suffix != suffix:
        raise UserError(f"--output: {path} does not end with {suffix}, as a file of --format {format} does")
    if path.is_dir():
        raise UserError(f"--output: {path} is a folder; name a file")
    return path


def _name(source: str) -> str:
    """Of a folder its name, or its run's; of a model on the Hub its own."""
    parts = [part for part in Path(os.path.abspath(source)).parts if part != "model"]
    return parts[-1] if os.path.isdir(source) else source.rpartition("/")[2]


def _checked(
    asked: OnnxSession | TorchProgram,
    written: Path,
    path: Path,
    clips: Sequence[np.ndarray],
    expected: np.ndarray,
    expert: Expert,
    tolerance: float,
) -> Exported:
    """The file at `written`, moved to `path` if its answers are the model's."""
    try:
        padded = asked.facts["padding_safe"] and len(clips) > 1
        found = difference(asked, clips, expected, padded, expert.multi_label)
    except UserError:
        raise
    except Exception as error:  # of classes that the runtimes do not publish
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{path}: not written: its graph does not run on clips of any length: {line}") from error
    if not found.logits <= tolerance:
        raise UserError(
            f"{path}: not written: its logits are {found.logits:.2g} away from the model's on {len(clips)} clips, "
            f"more than {tolerance:g}"
        )
    took = milliseconds(lambda clip: asked.ask(clip[None]), clips)
    if written != path:
        os.replace(written, path)
    return Exported(path, path.stat().st_size, found, padded, took)


def _costs(
    expert: Expert, files: dict[str, Exported], corpus: Corpus, chosen: dict[str, Any]
) -> tuple[Cost, dict[str, Exported]]:
    """The model's own figures on a corpus, and the files with theirs."""
    experts = {"model": expert}
    for name, file in files.items():
        if name == "torch":
            raise UserError("--corpus: measures ONNX files; leave it out, or export with --format onnx")
        experts[name] = load_expert(file.path)
    costs = corpus_costs(experts, corpus, **chosen)
    own = costs.pop("model")
    return own, {name: dataclasses.replace(file, cost=costs[name]) for name, file in files.items()}


def _script(path: Path) -> Path | None:
    """A script beside an ONNX file that asks it with onnxruntime and soundfile alone; None where one stands that is
    not of here."""
    text = Path(__file__).with_name(SCRIPT).read_text(encoding="utf-8")
    script = path.with_name(SCRIPT)
    ours = text.partition("\n")[0]
    if script.exists() and not script.read_text(encoding="utf-8", errors="replace").startswith(ours):
        return None
    partial = script.with_name(f"{SCRIPT}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(script)
    return script
