"""Export to ONNX: waveform in, logits and probabilities out, for any batch and length.

The file is compared with the model in torch, and kept only if the two agree. `torch.onnx.export`
(``dynamo=True``) exports every network here except for two things:

- It cannot follow packed sequences, and would unroll an `nn.LSTM` over a fixed number of frames.
  ONNX's own LSTM operator takes true lengths, so it replaces `BiLSTM`.
- Its optimizer removes the addition of constants below 1e-8 (onnxscript compares constants with
  that tolerance), such as the floor below the logarithm of a power: a silent frame would become
  minus infinity. So constants are folded and no patterns are rewritten; runtimes optimize the graph
  themselves.
"""

import dataclasses
import importlib.util
import json
import logging
import os
import shutil
import statistics
import tempfile
import timeit
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel, SequenceFeatureExtractor

from ..audio.decode import decode
from ..corpora.synthetic import EMOTIONS, utterance
from ..evaluation.probabilities import activated
from ..inference.batches import run_batches
from ..inference.chunks import Chunk
from ..inference.classifier import Classifier
from ..inference.load import load_classifier
from ..inference.recordings import Recording
from ..inference.reference import read_reference
from ..loading.encoders import ENCODERS, encoder_config, mask_valid
from ..loading.files import first_line
from ..models.configuration import RANGES_KEY, TEMPERATURE_KEY
from ..models.preparation import Preparation, PreparedFeatureExtractor, prepare_waveform
from ..utils.environment import environment
from ..utils.errors import UserError
from ..utils.run_folder import RunFolder
from .graph import PrepareWaveform, WaveformClassifier
from .lstm import replace_lstms
from .quantize import quantize, quiet_exporter

logger = logging.getLogger(__name__)

OPSET = 18  # the oldest one that the exporter writes without conversion
LARGEST = 2**31  # bytes of a protobuf
TOLERANCE = 1e-3  # of a logit; a float32 file beyond it is refused
SCRIPT = "run_onnx.py"
# The modules that a node belongs to. The exporter's other metadata of nodes contains lines of code
# and local paths.
_SCOPES = "pkg.torch.onnx.name_scopes"


@dataclasses.dataclass(frozen=True)
class Difference:
    """How far the outputs of a file are from those of the model, over some clips.

    Args:
        logits: the largest difference of a logit.
        probabilities: the largest difference of a probability (of dimensions: of a value).
        changed: the number of clips that get another label.
        clips: the number of clips.
    """

    logits: float
    probabilities: float
    changed: int
    clips: int

    def or_larger(self, other: "Difference") -> "Difference":
        """The larger value of each field."""
        return Difference(
            logits=max(self.logits, other.logits),
            probabilities=max(self.probabilities, other.probabilities),
            changed=max(self.changed, other.changed),
            clips=max(self.clips, other.clips),
        )


@dataclasses.dataclass(frozen=True)
class ExportedFile:
    """A written file and how it compares with the model.

    Args:
        path: of the file.
        bytes: its size.
        difference: from the model.
        padded: whether clips were also compared in a padded batch, not only alone.
        milliseconds: for a clip, on the CPU.
    """

    path: Path
    bytes: int
    difference: Difference
    padded: bool
    milliseconds: float


@dataclasses.dataclass(frozen=True)
class Export:
    """The exported files of one model.

    Args:
        files: by ``onnx`` and ``int8``.
        compared_on: a description of the clips that they were compared on.
        milliseconds: that the model in torch takes for a clip.
        script: that runs the files.
    """

    files: dict[str, ExportedFile]
    compared_on: str
    milliseconds: float
    script: Path


def export_model(
    source: str | os.PathLike,
    output: str | os.PathLike | None = None,
    *,
    int8: bool = False,
    clips: Sequence[np.ndarray | str | os.PathLike] | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> Export:
    """Export an audio classifier to ONNX, and compare the file with the model.

    The file computes everything, from the waveform to probabilities.

    Example: `ser_hf.export_model("runs/a", "model.onnx", int8=True)`

    Args:
        source: a run folder, a model folder or a Hub id, of an audio classifier that takes
            waveforms.
        output: the file (default: ``exports/NAME/model.onnx``); an existing file is replaced.
        int8: also write ``NAME.int8.onnx`` with int8 weights, whose difference is measured and has
            no limit.
        clips: audio files, or waveforms float32 (samples,) at the model's rate, to compare on; by
            default the clips that a run keeps for this (`ser_hf.inference.reference`), or built-in
            speech-like signals.

    Returns:
        The files with their sizes, differences from the model and milliseconds per clip.

    Raises:
        UserError: naming what is wrong; also if the logits differ by more than `TOLERANCE`. Then no
            file is written.
    """
    path = _output_path(source, output)
    require("onnx", "onnxscript", "onnxruntime")
    classifier = load_classifier(
        source, revision=revision, device="cpu", trust_remote_code=trust_remote_code
    )
    waveforms, compared_on = _waveforms(source, clips, classifier.extractor.sampling_rate)
    logger.info("exporting %s to %s, which may take a minute", classifier.source, path)
    try:
        files = _write_files(classifier, path, waveforms, int8)
        script = _write_script(path.parent)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from None
    return Export(
        files=files,
        compared_on=compared_on,
        milliseconds=milliseconds(classifier, waveforms),
        script=script,
    )


def _write_script(folder: Path) -> Path:
    """Write the script that runs exported files, unless the folder has one."""
    script = folder / SCRIPT
    if not script.exists():
        shutil.copyfile(Path(__file__).with_name(SCRIPT), script)
    return script


def _write_files(
    classifier: Classifier, path: Path, waveforms: Sequence[np.ndarray], int8: bool
) -> dict[str, ExportedFile]:
    """Write and compare the files, which appear only when all of them are complete."""
    extractor = classifier.extractor
    if classifier.preparation.active:
        extractor = PreparedFeatureExtractor.from_stock(extractor, classifier.preparation)
    origin = {
        "model": _name(classifier.source),
        "revision": classifier.revision,
        "window_seconds": classifier.evaluation_window,
    }
    expected = logits_of(classifier, waveforms)
    path.parent.mkdir(parents=True, exist_ok=True)
    files = {}
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".ser_hf-") as folder:
        written = Path(folder, path.name)
        export_onnx(classifier.model, written, extractor, origin)
        files["onnx"] = _compared(written, path, waveforms, expected, TOLERANCE)
        if int8:
            logger.info("quantizing weights to int8")
            small = written.with_name(f"{path.stem}.int8.onnx")
            quantize(written, small)
            small_path = path.with_name(small.name)
            files["int8"] = _compared(small, small_path, waveforms, expected, np.inf)
        for name in os.listdir(folder):
            os.replace(Path(folder, name), path.with_name(name))
    return files


def _waveforms(
    source: str | os.PathLike,
    clips: Sequence[np.ndarray | str | os.PathLike] | None,
    sampling_rate: int,
) -> tuple[list[np.ndarray], str]:
    """The waveforms to compare on, and a description of them."""
    if clips is None:
        return _default_clips(source, sampling_rate)
    waveforms = []
    for clip in clips:
        if not isinstance(clip, np.ndarray):
            clip = decode(os.fspath(clip), None, sampling_rate).samples
        waveforms.append(clip)
    return waveforms, "given clips"


def _output_path(source: str | os.PathLike, output: str | os.PathLike | None) -> Path:
    if os.fspath(source).endswith(".onnx"):
        raise UserError(
            f"{source}: is already an ONNX file; name the model that it was exported from"
        )
    if output is None:
        path = Path("exports", _name(os.fspath(source)), "model.onnx")
    else:
        path = Path(output)
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
    clips = [utterance(i, EMOTIONS[i], i, 0, sampling_rate).astype(np.float32) for i in range(4)]
    # Different lengths and levels, and silence at both ends.
    clips[1] = clips[1][: round(0.4 * sampling_rate)]
    clips[2] = np.pad(clips[2], sampling_rate // 5)
    clips[3] *= 0.1
    return clips, "built-in speech-like signals"


def logits_of(
    classifier: Classifier, clips: Sequence[np.ndarray], batch_size: int = 1
) -> np.ndarray:
    """Logits, float32 (clips, labels), of whole clips, float32 (samples,)."""
    rate = classifier.extractor.sampling_rate
    names = [f"clip {number}" for number in range(1, len(clips) + 1)]
    chunk = Chunk(
        recordings=[Recording(name, name) for name in names],
        waveforms=[prepare_waveform(clip, rate, classifier.preparation) for clip in clips],
        sampling_rate=rate,
    )
    return run_batches(classifier, chunk, window=None, batch_size=batch_size).logits


def compare(logits: np.ndarray, expected: np.ndarray, problem_type: str | None) -> Difference:
    """The difference of two arrays of logits, float32 (clips, labels)."""
    difference = activated(logits, problem_type) - activated(expected, problem_type)
    changed = 0
    if problem_type != "regression":
        changed = int((logits.argmax(axis=1) != expected.argmax(axis=1)).sum())
    return Difference(
        logits=float(np.abs(logits - expected).max()),
        probabilities=float(np.abs(difference).max()),
        changed=changed,
        clips=len(expected),
    )


def milliseconds(classifier: Classifier, clips: Sequence[np.ndarray]) -> float:
    """Milliseconds for a clip that is processed alone.

    The median over repeats of the mean over clips.
    """
    logits_of(classifier, clips)  # memory is allocated at the first use of a length
    seconds = timeit.repeat(lambda: logits_of(classifier, clips), number=1)
    return 1000 * statistics.median(seconds) / len(clips)


def _compared(
    written: Path, path: Path, clips: Sequence[np.ndarray], expected: np.ndarray, tolerance: float
) -> ExportedFile:
    """Describe the file at `written`, which is to be moved to `path`.

    Raises:
        UserError: if its logits differ by more than `tolerance`.
    """
    try:
        exported = load_classifier(written)
        difference = compare(logits_of(exported, clips), expected, exported.problem_type)
        padded = exported.padding_safe and len(clips) > 1
        if padded:
            logits = logits_of(exported, clips, batch_size=len(clips))
            difference = difference.or_larger(compare(logits, expected, exported.problem_type))
    except Exception as error:  # onnxruntime's exception classes are not public
        raise UserError(
            f"{path}: not written: it cannot be compared with the model: {first_line(error)}"
        ) from error
    if difference.logits > tolerance:
        raise UserError(
            f"{path}: not written: its logits differ by {difference.logits:.2g}, "
            f"more than {tolerance:g}"
        )
    return ExportedFile(
        path=path,
        bytes=written.stat().st_size,
        difference=difference,
        padded=padded,
        milliseconds=milliseconds(exported, clips),
    )


def export_onnx(
    model: PreTrainedModel,
    path: Path | str,
    extractor: SequenceFeatureExtractor,
    origin: Mapping[str, Any] | None = None,
) -> Path:
    """Write `model` in float32 and evaluation mode; the model itself does not change.

    The inputs of the file are ``input_values``, float32 (batch, samples), and ``attention_mask``,
    int64 (batch, samples), 1 for samples of the clip; its outputs are ``logits`` and
    ``probabilities`` (of dimensions ``values``, on the scale of the ratings), float32 (batch,
    labels). The published `extractor` becomes a part of the graph. The metadata are those of
    `metadata_of`, and `origin`.

    Raises:
        UserError: if the model is too large, or cannot be exported.
    """
    require("onnx", "onnxscript")
    size = sum(tensor.numel() for tensor in model.state_dict().values()) * 4
    if size >= LARGEST:
        raise UserError(
            f"{type(model).__name__} takes {size / 1e9:.1f} GB, and an ONNX file holds at most 2 GB"
        )
    import onnx

    graph = WaveformClassifier(model, extractor)
    metadata = dataclasses.asdict(metadata_of(graph)) | dict(origin or {})
    replace_lstms(graph.model)
    if graph.trims:
        file = _with_trimming(graph)
    else:
        file = _exported(graph, graph.outputs, graph.sampling_rate)
    for key, value in metadata.items():
        if value is not None:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            file.metadata_props.add(key=key, value=text)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    onnx.save(file, path)
    return Path(path)


def _with_trimming(graph: WaveformClassifier) -> Any:
    """A classifier that trims silence, as an `onnx.ModelProto`.

    The preparation is a separate graph: the length that remains depends on the samples, which the
    exporter follows no further.
    """
    import onnx

    rate = graph.sampling_rate
    preparation = _exported(graph.prepare, ["waveform", "mask"], rate)
    graph.prepare = PrepareWaveform(Preparation(), rate)
    network = _exported(graph, graph.outputs, rate)
    file = onnx.compose.merge_models(
        onnx.compose.add_prefix(preparation, "prepare_", rename_inputs=False),
        network,
        [("prepare_waveform", "input_values"), ("prepare_mask", "attention_mask")],
    )
    del file.opset_import[1:]  # the same twice
    return file


def _exported(graph: nn.Module, outputs: Sequence[str], sampling_rate: int) -> Any:
    """A module that takes waveforms and a mask, as an `onnx.ModelProto`."""
    from onnxscript import optimizer

    clips = torch.zeros(2, sampling_rate)
    axes = {0: "batch", 1: "samples"}
    with quiet_exporter(), torch.no_grad():
        try:
            program = torch.onnx.export(
                graph,
                kwargs={
                    "input_values": clips,
                    "attention_mask": torch.ones_like(clips, dtype=torch.long),
                },
                output_names=outputs,
                dynamic_shapes={"input_values": axes, "attention_mask": axes},
                opset_version=OPSET,
                dynamo=True,
                optimize=False,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            cause: BaseException = error
            while cause.__cause__ is not None:  # the exporter's own message runs over pages
                cause = cause.__cause__
            raise UserError(
                f"the network cannot be exported to ONNX: {first_line(cause)}"
            ) from error
        optimizer.inline(program.model)
        optimizer.fold_constants(program.model)
        optimizer.remove_unused_nodes(program.model)
    for node in program.model.graph.all_nodes():
        scopes = node.metadata_props.get(_SCOPES)
        node.metadata_props.clear()
        if scopes is not None:
            node.metadata_props[_SCOPES] = scopes
    return program.model_proto


def require(*packages: str) -> None:
    """Raise a `UserError` that names the packages that are not installed."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f'export to ONNX needs {" and ".join(missing)}: pip install "ser_hf[onnx]"')


@dataclasses.dataclass(frozen=True)
class OnnxMetadata:
    """The metadata of a file, each as JSON under its name; None is left out.

    Args:
        id2label: the label of each output, by its number as text.
        multi_label: whether each label has a probability by itself.
        target_ranges: the ratings that 0 and 1 of each dimension stand for.
        padding_safe: whether clips of different lengths may share a batch.
        calibration_temperature: the number that logits are divided by for calibrated probabilities.
        ser_hf: the version that wrote the file.
    """

    id2label: dict[str, str]
    sampling_rate: int
    multi_label: bool
    problem_type: str | None
    target_ranges: dict[str, list[float]] | None
    model_type: str
    padding_safe: bool
    calibration_temperature: float | None
    ser_hf: str
    opset: int = OPSET


def metadata_of(graph: WaveformClassifier) -> OnnxMetadata:
    """The metadata of a file: labels, sampling rate, and how to batch clips."""
    config = graph.model.config
    encoder = encoder_config(config).model_type in ENCODERS
    padding_safe = graph.extractor.return_attention_mask and (not encoder or mask_valid(config))
    return OnnxMetadata(
        id2label={str(number): config.id2label[number] for number in sorted(config.id2label)},
        sampling_rate=graph.sampling_rate,
        multi_label=config.problem_type == "multi_label_classification",
        problem_type=config.problem_type,
        target_ranges=getattr(config, RANGES_KEY, None),
        model_type=config.model_type,
        padding_safe=padding_safe,
        calibration_temperature=getattr(config, TEMPERATURE_KEY, None),
        ser_hf=environment()["versions"]["ser_hf"],
    )
