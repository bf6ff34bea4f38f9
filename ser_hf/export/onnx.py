"""Export to ONNX and torch: waveform in, logits and probabilities out, any batch and length.

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
from ..corpora.synthesis import EMOTIONS, utterance
from ..evaluation.probabilities import activated
from ..evaluation.tasks import DIMENSIONS
from ..inference.batches import ModelOutputs, run_batches
from ..inference.chunks import Chunk
from ..inference.classifier import Classifier
from ..inference.load import load_classifier
from ..inference.recordings import Recording
from ..inference.reference import read_reference
from ..loading.files import first_line
from ..models.preparation import Preparation, PreparedFeatureExtractor, prepare_waveform
from ..utils.errors import UserError
from ..utils.run_folder import RunFolder
from .graph import PrepareWaveform, WaveformClassifier
from .lstm import replace_lstms
from .metadata import OPSET, metadata_of
from .program import export_program, program_classifier
from .quantize import quantize, quiet_exporter

logger = logging.getLogger(__name__)

LARGEST = 2**31  # the most bytes of a protobuf
TOLERANCE = 1e-3  # a float32 file whose logits differ by more is refused
SCRIPT = "run_onnx.py"
# This key of a node's metadata names the modules that the node belongs to. Other keys that the
# exporter writes contain lines of code and local paths.
_SCOPES = "pkg.torch.onnx.name_scopes"


@dataclasses.dataclass(frozen=True)
class Difference:
    """The difference between the outputs of a file and of the model for several clips.

    Args:
        logits: the largest difference of a logit.
        probabilities: the largest difference of a probability (for dimensions: of a value).
        changed: the number of clips that get another label.
        clips: the number of all clips.
    """

    logits: float
    probabilities: float
    changed: int
    clips: int

    def or_larger(self, other: "Difference") -> "Difference":
        """Return the larger value of each field."""
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
        path: the path of the file.
        bytes: the size of the file.
        difference: the difference between the outputs of the file and of the model.
        padded: whether clips were also compared in a padded batch, not only alone.
        milliseconds: the mean time for a clip on the CPU.
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
        files: the exported files, by the keys ``onnx``, ``int8``, ``fp16`` and ``pt2``.
        compared_on: a description of the clips for which file and model were compared.
        milliseconds: the time of the model in torch for a clip.
        script: the path of the script that runs ONNX files; None for a program of torch.
    """

    files: dict[str, ExportedFile]
    compared_on: str
    milliseconds: float
    script: Path | None


def export_model(
    source: str | os.PathLike,
    output: str | os.PathLike | None = None,
    *,
    int8: bool = False,
    fp16: bool = False,
    clips: Sequence[np.ndarray | str | os.PathLike] | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    label_names: Sequence[str] | None = None,
) -> Export:
    """Export an audio classifier to ONNX or to a program of torch, and compare it with the model.

    The file computes everything, from the waveform to probabilities.

    Example: `ser_hf.export_model("runs/a", "model.onnx", int8=True)`

    Args:
        source: a run folder, a model folder or a Hub id.
        output: the file (default: ``exports/NAME/model.onnx``); an existing file is replaced. A
            name that ends with ``.pt2`` is a program of `torch.export`.
        int8: also write ``NAME.int8.onnx`` with int8 weights. Its difference from the model is
            measured, but has no limit.
        fp16: also write ``NAME.fp16.onnx``, whose network computes in float16, for GPUs; its
            difference is measured on the CPU.
        clips: the clips for which file and model are compared: audio files, or waveforms float32
            (samples,) at the model's rate. By default they are the reference clips of a run
            (`ser_hf.inference.reference`), or built-in speech-like signals.
        label_names: the names of the outputs in their order, in place of those of the model.

    Returns:
        The files with their sizes, differences from the model and milliseconds per clip.

    Raises:
        UserError: if the model cannot be exported, or the logits of the float32 file differ by more
            than `TOLERANCE`. Then no file is written.
    """
    path = _output_path(source, output)
    is_program = path.suffix == ".pt2"
    if is_program:
        _refuse_variants(path, int8=int8, fp16=fp16)
    else:
        require("onnx", "onnxscript", "onnxruntime")
    classifier = load_classifier(
        source,
        revision=revision,
        device="cpu",
        trust_remote_code=trust_remote_code,
        label_names=label_names,
    )
    waveforms, compared_on = _waveforms(source, clips, classifier.extractor.sampling_rate)
    logger.info("exporting %s to %s, which may take a minute", classifier.source, path)
    try:
        if is_program:
            files = _write_program(classifier, path, waveforms)
            script = None
        else:
            files = _write_files(classifier, path, waveforms, int8=int8, fp16=fp16)
            script = _write_script(path.parent)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from None
    return Export(
        files=files,
        compared_on=compared_on,
        milliseconds=milliseconds(classifier, waveforms),
        script=script,
    )


def _refuse_variants(path: Path, **variants: bool) -> None:
    """Refuse the options that only ONNX files have."""
    for name, requested in variants.items():
        if requested:
            raise UserError(
                f"--{name}: {path} is a program of torch, and only ONNX files have this form; "
                "leave it out, or name a file *.onnx"
            )


def _write_script(folder: Path) -> Path:
    """Write the script that runs exported files, unless the folder has one."""
    script = folder / SCRIPT
    if not script.exists():
        shutil.copyfile(Path(__file__).with_name(SCRIPT), script)
    return script


def _published_extractor(classifier: Classifier) -> SequenceFeatureExtractor:
    """The feature extractor with the preparation of waveforms."""
    if not classifier.preparation.active:
        return classifier.extractor
    return PreparedFeatureExtractor.from_stock(classifier.extractor, classifier.preparation)


def _origin(classifier: Classifier) -> dict[str, Any]:
    """Where an exported file comes from, for its metadata."""
    return {
        "model": short_name(classifier.source),
        "revision": classifier.revision,
        "window_seconds": classifier.evaluation_window,
    }


def _write_program(
    classifier: Classifier, path: Path, waveforms: Sequence[np.ndarray]
) -> dict[str, ExportedFile]:
    """Write a program of torch and compare it; it appears only when it is complete."""
    expected = outputs_of(classifier, waveforms)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".ser_hf-") as folder:
        written = Path(folder, path.name)
        extractor = _published_extractor(classifier)
        export_program(classifier.model, written, extractor, _origin(classifier))
        exported = program_classifier(written, classifier)
        file = _compare(
            exported,
            path,
            waveforms,
            expected,
            padded=classifier.padding_safe,
            tolerance=TOLERANCE,
        )
        os.replace(written, path)
    return {"pt2": file}


def _write_files(
    classifier: Classifier,
    path: Path,
    waveforms: Sequence[np.ndarray],
    *,
    int8: bool,
    fp16: bool,
) -> dict[str, ExportedFile]:
    """Write the ONNX files and compare them; they appear only when all of them are complete."""
    expected = outputs_of(classifier, waveforms)
    path.parent.mkdir(parents=True, exist_ok=True)
    files = {}
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".ser_hf-") as folder:
        written = Path(folder, path.name)
        extractor = _published_extractor(classifier)
        export_onnx(classifier.model, written, extractor, _origin(classifier))
        files["onnx"] = _compare_file(written, path, waveforms, expected, TOLERANCE)
        if int8:
            logger.info("quantizing weights to int8")
            small = written.with_name(f"{path.stem}.int8.onnx")
            quantize(written, small)
            small_path = path.with_name(small.name)
            files["int8"] = _compare_file(small, small_path, waveforms, expected, np.inf)
        if fp16:
            logger.info("exporting the network in float16")
            half = written.with_name(f"{path.stem}.fp16.onnx")
            origin = _origin(classifier)
            export_onnx(classifier.model, half, extractor, origin, half=True)
            half_path = path.with_name(half.name)
            files["fp16"] = _compare_file(half, half_path, waveforms, expected, np.inf)
        for name in os.listdir(folder):
            os.replace(Path(folder, name), path.with_name(name))
    return files


def _waveforms(
    source: str | os.PathLike,
    clips: Sequence[np.ndarray | str | os.PathLike] | None,
    sampling_rate: int,
) -> tuple[list[np.ndarray], str]:
    """Return the waveforms for the comparison, and a description of them."""
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
        path = Path("exports", short_name(os.fspath(source)), "model.onnx")
    else:
        path = Path(output)
    if path.suffix not in (".onnx", ".pt2"):
        raise UserError(f"--output: {path} does not end with .onnx or .pt2")
    if path.is_dir():
        raise UserError(f"--output: {path} is a folder; name a file")
    return path


def short_name(source: str) -> str:
    """Return a short name: of a model's run or folder, or the last part of a Hub id."""
    parts = [part for part in Path(os.path.abspath(source)).parts if part != "model"]
    return parts[-1] if os.path.isdir(source) else source.rpartition("/")[2]


def _default_clips(source: str | os.PathLike, sampling_rate: int) -> tuple[list[np.ndarray], str]:
    """Return the default clips for the comparison, and a description of them."""
    if RunFolder(source).reference.is_file():
        clips, _ = read_reference(source)
        if len(clips) > 1:
            return clips, "clips that its run keeps"
    clips = [utterance(i, EMOTIONS[i], i, 0, sampling_rate).astype(np.float32) for i in range(4)]
    # The clips get different lengths and levels, and silence at both ends.
    clips[1] = clips[1][: round(0.4 * sampling_rate)]
    clips[2] = np.pad(clips[2], sampling_rate // 5)
    clips[3] *= 0.1
    return clips, "built-in speech-like signals"


def logits_of(
    classifier: Classifier, clips: Sequence[np.ndarray], batch_size: int = 1
) -> np.ndarray:
    """Compute the logits, float32 (clips, labels), of whole clips, float32 (samples,)."""
    return outputs_of(classifier, clips, batch_size).logits


def outputs_of(
    classifier: Classifier, clips: Sequence[np.ndarray], batch_size: int = 1
) -> ModelOutputs:
    """Compute the outputs of whole clips, float32 (samples,)."""
    rate = classifier.extractor.sampling_rate
    names = [f"clip {number}" for number in range(1, len(clips) + 1)]
    chunk = Chunk(
        recordings=[Recording(name, name) for name in names],
        waveforms=[prepare_waveform(clip, rate, classifier.preparation) for clip in clips],
        sampling_rate=rate,
    )
    return run_batches(classifier, chunk, window=None, batch_size=batch_size)


def compare(logits: np.ndarray, expected: np.ndarray, problem_type: str | None) -> Difference:
    """Compute the difference of two arrays of logits, float32 (clips, labels)."""
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


def _difference(
    outputs: ModelOutputs, expected: ModelOutputs, problem_type: str | None
) -> Difference:
    """The difference of all outputs; ratings beside the labels count as logits, from 0 to 1."""
    difference = compare(outputs.logits, expected.logits, problem_type)
    if expected.ratings is None:
        return difference
    # A file has ratings on their scale, which ends at 0 and 1.
    found = outputs.ratings.clip(0, 1)
    ratings = compare(found, expected.ratings.clip(0, 1), DIMENSIONS.problem_type)
    return difference.or_larger(ratings)


def milliseconds(classifier: Classifier, clips: Sequence[np.ndarray]) -> float:
    """Measure the milliseconds for a clip that is processed alone.

    The clips are processed several times. The result is the median of the mean times per clip.
    """
    logits_of(classifier, clips)  # the first call for a length allocates memory and is not measured
    seconds = timeit.repeat(lambda: logits_of(classifier, clips), number=1)
    return 1000 * statistics.median(seconds) / len(clips)


def _compare_file(
    written: Path, path: Path, clips: Sequence[np.ndarray], expected: ModelOutputs, tolerance: float
) -> ExportedFile:
    """Compare the ONNX file at `written` with the model; it will be moved to `path` later."""
    try:
        exported = load_classifier(written)
    except Exception as error:  # onnxruntime's exception classes are not public
        raise _incomparable(path, error) from error
    return _compare(
        exported,
        path,
        clips,
        expected,
        padded=exported.padding_safe,
        tolerance=tolerance,
    )


def _compare(
    exported: Classifier,
    path: Path,
    clips: Sequence[np.ndarray],
    expected: ModelOutputs,
    *,
    padded: bool,
    tolerance: float,
) -> ExportedFile:
    """Compare an exported file with the model.

    Args:
        exported: the file, which will be moved to `path` later.
        expected: the outputs of the model.
        padded: whether to compare clips in a padded batch too.
        tolerance: the largest difference of a logit.

    Raises:
        UserError: if the logits of the file differ by more than `tolerance`.
    """
    padded = padded and len(clips) > 1
    try:
        difference = _difference(outputs_of(exported, clips), expected, exported.problem_type)
        if padded:
            outputs = outputs_of(exported, clips, batch_size=len(clips))
            difference = difference.or_larger(_difference(outputs, expected, exported.problem_type))
    except Exception as error:  # onnxruntime's exception classes are not public
        raise _incomparable(path, error) from error
    if difference.logits > tolerance:
        raise UserError(
            f"{path}: not written: its logits differ by {difference.logits:.2g}, "
            f"more than {tolerance:g}"
        )
    return ExportedFile(
        path=path,
        bytes=Path(exported.source).stat().st_size,
        difference=difference,
        padded=padded,
        milliseconds=milliseconds(exported, clips),
    )


def _incomparable(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{path}: not written: it cannot be compared with the model: {first_line(error)}"
    )


def export_onnx(
    model: PreTrainedModel,
    path: Path | str,
    extractor: SequenceFeatureExtractor,
    origin: Mapping[str, Any] | None = None,
    half: bool = False,
) -> Path:
    """Write `model` in float32 and evaluation mode; the model itself does not change.

    With `half` the network computes in float16; inputs, features and outputs stay float32.

    The inputs of the file are ``input_values``, float32 (batch, samples), and ``attention_mask``,
    int64 (batch, samples), 1 for samples of the clip; its outputs are ``logits`` and
    ``probabilities`` (for dimensions ``values``, on the scale of the ratings), float32 (batch,
    labels). The published `extractor` becomes a part of the graph. The metadata of the file
    are those of `metadata_of`, and `origin`.

    Raises:
        UserError: if the model is too large, or cannot be exported.
    """
    require("onnx", "onnxscript")
    bytes_of_number = 2 if half else 4
    size = sum(tensor.numel() for tensor in model.state_dict().values()) * bytes_of_number
    if size >= LARGEST:
        raise UserError(
            f"{type(model).__name__} takes {size / 1e9:.1f} GB, and an ONNX file holds at most 2 GB"
        )
    import onnx

    graph = WaveformClassifier(model, extractor, half)
    metadata = dataclasses.asdict(metadata_of(graph)) | dict(origin or {})
    replace_lstms(graph.model)
    if graph.trims:
        file = _with_trimming(graph)
    else:
        file = _export_module(graph, graph.outputs, graph.sampling_rate)
    for key, value in metadata.items():
        if value is not None:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            file.metadata_props.add(key=key, value=text)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    onnx.save(file, path)
    return Path(path)


def _with_trimming(graph: WaveformClassifier) -> Any:
    """Export a classifier that trims silence, as an `onnx.ModelProto`.

    The preparation is exported as a separate graph: the length of a trimmed clip depends on the
    values of its samples, and the exporter cannot follow such a length into the network.
    """
    import onnx

    rate = graph.sampling_rate
    preparation = _export_module(graph.prepare, ["waveform", "mask"], rate)
    graph.prepare = PrepareWaveform(Preparation(), rate)
    network = _export_module(graph, graph.outputs, rate)
    file = onnx.compose.merge_models(
        onnx.compose.add_prefix(preparation, "prepare_", rename_inputs=False),
        network,
        [("prepare_waveform", "input_values"), ("prepare_mask", "attention_mask")],
    )
    del file.opset_import[1:]  # merging has listed the same operator set twice
    return file


def _export_module(graph: nn.Module, outputs: Sequence[str], sampling_rate: int) -> Any:
    """Export a module that takes waveforms and a mask, as an `onnx.ModelProto`."""
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
            while cause.__cause__ is not None:  # the exporter's message has several pages
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
    """Check that packages are installed; a `UserError` names the missing ones."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f'export to ONNX needs {" and ".join(missing)}: pip install "ser_hf[onnx]"')
