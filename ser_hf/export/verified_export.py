"""Export of a model by name: the file is compared with the model in torch, and kept only if the two agree."""

import dataclasses
import logging
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..audio.decode import decode
from ..corpora.synthetic import EMOTIONS, utterance
from ..inference.batches import run_batches
from ..inference.classifier import Classifier, load_classifier
from ..inference.inputs import Chunk, Recording
from ..inference.outputs import probabilities
from ..inference.reference import read_reference
from ..models.preparation import PreparedFeatureExtractor, prepare_waveform
from ..training.loading import first_line
from ..utils.errors import UserError
from ..utils.run_folder import RunFolder
from .onnx import export_onnx, quantize, require

logger = logging.getLogger(__name__)

TOLERANCE = 1e-3  # of a logit; a float32 file beyond it is refused
SCRIPT = "run_onnx.py"
_TIMED_SECONDS, _MOST_REPEATS = 2.0, 20


@dataclasses.dataclass(frozen=True)
class Difference:
    """The largest difference of a logit and of a probability over some clips, and the clips that change label."""

    logits: float
    probabilities: float
    changed: int
    clips: int


@dataclasses.dataclass(frozen=True)
class ExportedFile:
    """A file that was written: its size, its difference from the model in torch, whether clips were compared in one
    padded batch too (`padded`), and the median time for a clip on the CPU."""

    path: Path
    bytes: int
    difference: Difference
    padded: bool
    milliseconds: float


@dataclasses.dataclass(frozen=True)
class Export:
    """The files of one model by ``onnx`` and ``int8``, a description of the clips that they were compared on, the time
    that the model in torch takes for a clip, and the script that runs the files (None if the user's own is there)."""

    files: dict[str, ExportedFile]
    compared_on: str
    milliseconds: float
    script: Path | None


def export_model(
    source: str | os.PathLike,
    output: str | os.PathLike | None = None,
    *,
    int8: bool = False,
    clips: Sequence[np.ndarray | str | os.PathLike] | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> Export:
    """Exports an audio classifier, from the waveform to probabilities, and compares the file with the model.

    Args:
        source: a run folder, a model folder or a Hub id, of any audio classifier that transformers can load.
        output: the file (default: ``exports/NAME/model.onnx``); an existing file is replaced.
        int8: also write ``NAME.int8.onnx`` with int8 weights, whose difference is measured and has no limit.
        clips: audio files, or waveforms float32 (samples,) at the model's rate, to compare on; by default the clips
            that a run keeps for this (`ser_hf.inference.reference`), or built-in speech-like signals.

    Raises:
        UserError: naming the model or the argument that is wrong; also if the file's logits differ from the model's by
            more than `TOLERANCE`. Then no file is written.
    """
    path = _output_path(source, output)
    require("onnx", "onnxscript", "onnxruntime")
    classifier = load_classifier(source, revision=revision, device="cpu", trust_remote_code=trust_remote_code)
    rate, extractor = classifier.extractor.sampling_rate, classifier.extractor
    compared_on = "given clips"
    if clips is None:
        clips, compared_on = _default_clips(source, rate)
    clips = [clip if isinstance(clip, np.ndarray) else decode(os.fspath(clip), None, rate).samples for clip in clips]
    if classifier.preparation.active:
        extractor = PreparedFeatureExtractor.from_stock(extractor, classifier.preparation)
    facts = {
        "model": _name(classifier.source),
        "revision": classifier.revision,
        "window_seconds": classifier.evaluation_window,
    }
    expected = logits_of(classifier, clips)
    files = {}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Files appear at their places only when all of them are complete and checked.
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".ser_hf-") as folder:
            partial = Path(folder, path.name)
            small = partial.with_name(f"{path.stem}.int8.onnx")
            logger.info("%s to %s, which may take a minute", classifier.source, path)
            export_onnx(classifier.model, partial, extractor, facts)
            files["onnx"] = _checked(partial, path, clips, expected, TOLERANCE)
            if int8:
                logger.info("weights to int8")
                quantize(partial, small)
                files["int8"] = _checked(small, path.with_name(small.name), clips, expected, np.inf)
            script = path.with_name(SCRIPT)
            if _may_replace(script):
                shutil.copyfile(Path(__file__).with_name(SCRIPT), partial.with_name(SCRIPT))
            for complete in os.listdir(folder):
                os.replace(Path(folder, complete), path.with_name(complete))
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from None
    return Export(files, compared_on, milliseconds(classifier, clips), script if _may_replace(script) else None)


def _output_path(source: str | os.PathLike, output: str | os.PathLike | None) -> Path:
    if os.fspath(source).endswith(".onnx"):
        raise UserError(f"{source}: is an ONNX file already; name the model that it was made from")
    path = Path("exports", _name(os.fspath(source)), "model.onnx") if output is None else Path(output)
    if path.suffix != ".onnx":
        raise UserError(f"--output: {path} does not end with .onnx")
    if path.is_dir():
        raise UserError(f"--output: {path} is a folder; name a file")
    return path


def _name(source: str) -> str:
    """The name of a folder, or of the run it is in; of a Hub id the part after the slash."""
    parts = [part for part in Path(os.path.abspath(source)).parts if part != "model"]
    return parts[-1] if os.path.isdir(source) else source.rpartition("/")[2]


def _default_clips(source: str | os.PathLike, sampling_rate: int) -> tuple[list[np.ndarray], str]:
    """Clips to compare on, and a description of them."""
    if RunFolder(source).reference.is_file():
        clips, _ = read_reference(source)
        if len(clips) > 1:
            return clips, "clips that its run keeps"
    clips = [
        utterance(speaker, EMOTIONS[speaker], take=speaker, seed=0, sampling_rate=sampling_rate).astype(np.float32)
        for speaker in range(4)
    ]
    # Different lengths and levels, and silence at both ends.
    silence = np.zeros(sampling_rate // 5, np.float32)
    short = clips[1][: round(0.4 * sampling_rate)]
    clips = [clips[0], short, np.concatenate([silence, clips[2], silence]), clips[3] * 0.1]
    return clips, "built-in speech-like signals"


def logits_of(classifier: Classifier, clips: Sequence[np.ndarray], batch_size: int = 1) -> np.ndarray:
    """Logits, float32 (clips, labels), of whole clips, float32 (samples,)."""
    rate = classifier.extractor.sampling_rate
    prepared = [prepare_waveform(clip, rate, classifier.preparation) for clip in clips]
    names = [f"clip {number}" for number in range(1, len(clips) + 1)]
    return run_batches(
        classifier, Chunk([Recording(name, name) for name in names], prepared, rate), None, batch_size
    ).logits


def compare(logits: np.ndarray, expected: np.ndarray, multi_label: bool) -> Difference:
    """The difference of two arrays of logits, float32 (clips, labels)."""
    shares = np.abs(probabilities(logits, multi_label) - probabilities(expected, multi_label))
    changed = logits.argmax(axis=1) != expected.argmax(axis=1)
    largest = float(np.abs(logits - expected).max())
    return Difference(largest, float(shares.max()), int(changed.sum()), len(expected))


def milliseconds(classifier: Classifier, clips: Sequence[np.ndarray]) -> float:
    """Of a clip that is processed alone: the median over repeats of the mean over clips."""
    logits_of(classifier, clips)  # memory is allocated at the first use of a length
    repeats, began = [], time.perf_counter()
    while len(repeats) < 3 or len(repeats) < _MOST_REPEATS and time.perf_counter() - began < _TIMED_SECONDS:
        start = time.perf_counter()
        logits_of(classifier, clips)
        repeats.append((time.perf_counter() - start) / len(clips))
    return 1000 * statistics.median(repeats)


def _checked(
    written: Path, path: Path, clips: Sequence[np.ndarray], expected: np.ndarray, tolerance: float
) -> ExportedFile:
    """Describes the file at `written`, which is to be moved to `path`. Raises a `UserError` if it differs too much."""
    try:
        exported = load_classifier(written)
        padded = exported.padding_safe and len(clips) > 1
        compared = [
            compare(logits_of(exported, clips, size), expected, exported.multi_label)
            for size in ((1, len(clips)) if padded else (1,))
        ]
    except Exception as error:  # onnxruntime's exception classes are not public
        raise UserError(f"{path}: not written: it cannot be compared with the model: {first_line(error)}") from error
    found = Difference(*(max(values) for values in zip(*map(dataclasses.astuple, compared), strict=True)))
    if found.logits > tolerance:
        raise UserError(
            f"{path}: not written: its logits differ from the model's by {found.logits:.2g} on {len(clips)} clips, "
            f"more than {tolerance:g}"
        )
    return ExportedFile(path, written.stat().st_size, found, padded, milliseconds(exported, clips))


def _may_replace(script: Path) -> bool:
    """Whether no script of the user's own is at that path."""
    if not script.exists():
        return True
    first_line = Path(__file__).with_name(SCRIPT).read_text(encoding="utf-8").partition("\n")[0]
    return script.read_text(encoding="utf-8", errors="replace").startswith(first_line)
