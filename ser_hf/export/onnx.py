"""Export to ONNX: waveform in, logits and probabilities out, for any batch and length; and int8
weights.

The file is compared with the model in torch, and kept only if the two agree. `torch.onnx.export`
(``dynamo=True``) exports every network here except for two things:

- It cannot follow packed sequences, and would unroll an `nn.LSTM` over a fixed number of frames.
  ONNX's own LSTM operator takes true lengths, so it replaces `BiLSTM`.
- Its optimizer removes the addition of constants below 1e-8 (onnxscript compares constants with
  that tolerance), such as the floor below the logarithm of a power: a silent frame would become
  minus infinity. So constants are folded and no patterns are rewritten; runtimes optimize the graph
  themselves.
"""

import contextlib
import dataclasses
import importlib.util
import json
import logging
import os
import re
import shutil
import statistics
import tempfile
import timeit
import warnings
from collections.abc import Iterator, Mapping, Sequence
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
from ..models.layers import BiLSTM
from ..models.preparation import Preparation, PreparedFeatureExtractor, prepare_waveform
from ..utils.environment import environment
from ..utils.errors import UserError
from ..utils.run_folder import RunFolder
from .graph import PrepareWaveform, WaveformClassifier

logger = logging.getLogger(__name__)

OPSET = 18  # the oldest one that the exporter writes without conversion
LARGEST = 2**31  # bytes of a protobuf
TOLERANCE = 1e-3  # of a logit; a float32 file beyond it is refused
SCRIPT = "run_onnx.py"
# The modules that a node belongs to. The exporter's other metadata of nodes contains lines of code
# and local paths.
_SCOPES = "pkg.torch.onnx.name_scopes"
# Modules of `WaveformClassifier` that compute features and stay float32 in an int8 file.
_FEATURES = ("prepare", "extract", "model.front_end")


@dataclasses.dataclass(frozen=True)
class Difference:
    """The largest difference of a logit and of a probability over some clips, and the clips that
    change label.
    """

    logits: float
    probabilities: float
    changed: int
    clips: int


@dataclasses.dataclass(frozen=True)
class ExportedFile:
    """A file, its size, its difference from the model, alone and in a batch (`padded`), and CPU
    time per clip.
    """

    path: Path
    bytes: int
    difference: Difference
    padded: bool
    milliseconds: float


@dataclasses.dataclass(frozen=True)
class Export:
    """The files of one model by ``onnx`` and ``int8``, a description of the clips that they were
    compared on, the time that the model in torch takes for a clip, and the script that runs the
    files."""

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
    """Export an audio classifier, from the waveform to probabilities, and compare the file with the
    model.

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
    rate = classifier.extractor.sampling_rate
    extractor = classifier.extractor
    compared_on = "given clips"
    if clips is None:
        clips, compared_on = _default_clips(source, rate)
    clips = [
        clip if isinstance(clip, np.ndarray) else decode(os.fspath(clip), None, rate).samples
        for clip in clips
    ]
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
            logger.info("exporting %s to %s, which may take a minute", classifier.source, path)
            export_onnx(classifier.model, partial, extractor, facts)
            files["onnx"] = _checked(partial, path, clips, expected, TOLERANCE)
            if int8:
                logger.info("quantizing weights to int8")
                quantize(partial, small)
                files["int8"] = _checked(small, path.with_name(small.name), clips, expected, np.inf)
            for complete in os.listdir(folder):
                os.replace(Path(folder, complete), path.with_name(complete))
        script = path.with_name(SCRIPT)
        if not script.exists():
            shutil.copyfile(Path(__file__).with_name(SCRIPT), script)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from None
    return Export(files, compared_on, milliseconds(classifier, clips), script)


def _output_path(source: str | os.PathLike, output: str | os.PathLike | None) -> Path:
    if os.fspath(source).endswith(".onnx"):
        raise UserError(
            f"{source}: is already an ONNX file; name the model that it was exported from"
        )
    path = (
        Path("exports", _name(os.fspath(source)), "model.onnx") if output is None else Path(output)
    )
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
    prepared = [prepare_waveform(clip, rate, classifier.preparation) for clip in clips]
    names = [f"clip {number}" for number in range(1, len(clips) + 1)]
    return run_batches(
        classifier,
        Chunk([Recording(name, name) for name in names], prepared, rate),
        None,
        batch_size,
    ).logits


def compare(logits: np.ndarray, expected: np.ndarray, problem_type: str | None) -> Difference:
    """The difference of two arrays of logits, float32 (clips, labels)."""
    shares = np.abs(activated(logits, problem_type) - activated(expected, problem_type))
    changed = (logits.argmax(axis=1) != expected.argmax(axis=1)) & (problem_type != "regression")
    largest = float(np.abs(logits - expected).max())
    return Difference(largest, float(shares.max()), int(changed.sum()), len(expected))


def milliseconds(classifier: Classifier, clips: Sequence[np.ndarray]) -> float:
    """Milliseconds for a clip that is processed alone: the median over repeats of the mean over
    clips.
    """
    logits_of(classifier, clips)  # memory is allocated at the first use of a length
    return (
        1000
        * statistics.median(timeit.repeat(lambda: logits_of(classifier, clips), number=1))
        / len(clips)
    )


def _checked(
    written: Path, path: Path, clips: Sequence[np.ndarray], expected: np.ndarray, tolerance: float
) -> ExportedFile:
    """Describe the file at `written`, which is to be moved to `path`. Raises a `UserError` if it
    differs too much.
    """
    try:
        exported = load_classifier(written)
        padded = exported.padding_safe and len(clips) > 1
        compared = [
            compare(logits_of(exported, clips, size), expected, exported.problem_type)
            for size in ((1, len(clips)) if padded else (1,))
        ]
    except Exception as error:  # onnxruntime's exception classes are not public
        raise UserError(
            f"{path}: not written: it cannot be compared with the model: {first_line(error)}"
        ) from error
    found = Difference(
        *(max(values) for values in zip(*map(dataclasses.astuple, compared), strict=True))
    )
    if found.logits > tolerance:
        raise UserError(
            f"{path}: not written: its logits differ by {found.logits:.2g}, more than {tolerance:g}"
        )
    return ExportedFile(path, written.stat().st_size, found, padded, milliseconds(exported, clips))


def export_onnx(
    model: PreTrainedModel,
    path: Path | str,
    extractor: SequenceFeatureExtractor,
    facts: Mapping[str, Any] | None = None,
) -> Path:
    """Write `model` in float32 and evaluation mode; the model itself does not change.

    The inputs of the file are ``input_values``, float32 (batch, samples), and ``attention_mask``,
    int64 (batch, samples), 1 for samples of the clip; its outputs are ``logits`` and
    ``probabilities`` (of dimensions ``values``, on the scale of the ratings), float32 (batch,
    labels). The published `extractor` becomes a part of the graph. The metadata are those of
    `metadata_of`, and `facts`.
    """
    require("onnx", "onnxscript")
    size = sum(tensor.numel() for tensor in model.state_dict().values()) * 4
    if size >= LARGEST:
        raise UserError(
            f"{type(model).__name__} takes {size / 1e9:.1f} GB, and an ONNX file holds at most 2 GB"
        )
    import onnx

    graph = WaveformClassifier(model, extractor)
    metadata = metadata_of(graph) | dict(facts or {})
    _replace_lstms(graph.model)
    names = ["logits", "values" if graph.problem_type == "regression" else "probabilities"]
    prepare = graph.prepare
    rate = graph.sampling_rate
    if graph.trims:
        graph.prepare = PrepareWaveform(Preparation(), rate)
    file = _exported(graph, names, rate)
    if graph.trims:
        # A separate graph: the length that remains depends on the samples, which the exporter
        # follows no further.
        first = onnx.compose.add_prefix(
            _exported(prepare, ["waveform", "mask"], rate), "prepare_", rename_inputs=False
        )
        places = [("prepare_waveform", "input_values"), ("prepare_mask", "attention_mask")]
        file = onnx.compose.merge_models(first, file, places)
        del file.opset_import[1:]  # the same twice
    for key, value in metadata.items():
        if value is not None:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            file.metadata_props.add(key=key, value=text)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    onnx.save(file, path)
    return Path(path)


def _exported(graph: nn.Module, outputs: Sequence[str], sampling_rate: int) -> Any:
    """A module that takes waveforms and a mask, as an `onnx.ModelProto`."""
    from onnxscript import optimizer

    clips = torch.zeros(2, sampling_rate)
    axes = {0: "batch", 1: "samples"}
    with _quiet(), torch.no_grad():
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


def metadata_of(graph: WaveformClassifier) -> dict[str, Any]:
    """The metadata of a file: labels, sampling rate, and how to batch clips."""
    config = graph.model.config
    encoder = encoder_config(config).model_type in ENCODERS
    return {
        "id2label": {str(number): config.id2label[number] for number in sorted(config.id2label)},
        "sampling_rate": graph.sampling_rate,
        "multi_label": config.problem_type == "multi_label_classification",
        "problem_type": config.problem_type,
        RANGES_KEY: getattr(config, RANGES_KEY, None),
        "model_type": config.model_type,
        "padding_safe": graph.extractor.return_attention_mask
        and (not encoder or mask_valid(config)),
        "calibration_temperature": getattr(config, TEMPERATURE_KEY, None),
        "ser_hf": environment()["versions"]["ser_hf"],
        "opset": OPSET,
    }


def _replace_lstms(model: PreTrainedModel) -> None:
    for name, module in list(model.named_modules()):
        if isinstance(module, BiLSTM):
            model.set_submodule(name, _OnnxLSTM(module.lstm))
    for name, module in model.named_modules():
        if isinstance(module, nn.RNNBase):
            raise UserError(
                f"{type(model).__name__} cannot be exported to ONNX: {name} is a {type(module).__name__}; the "
                f"only recurrent layer that can be exported is BiLSTM"
            )


class _OnnxLSTM(nn.Module):
    """`BiLSTM` as ONNX's LSTM operator, for export only: in torch it returns zeros.

    The operator expects frames first, its gates in the order input, output, forget, cell (torch:
    input, forget, cell, output), and both directions in one tensor. Beyond `sequence_lens` it
    returns zeros, and its backward direction starts at each clip's last frame, as with packed
    sequences.
    """

    def __init__(self, lstm: nn.LSTM):
        super().__init__()
        self.hidden = lstm.hidden_size
        self.layers = lstm.num_layers
        parts = {"input": ("weight_ih",), "hidden": ("weight_hh",), "bias": ("bias_ih", "bias_hh")}
        for layer in range(lstm.num_layers):
            for kind, names in parts.items():
                directions = (f"_l{layer}", f"_l{layer}_reverse")
                rows = [
                    torch.cat([_gates(getattr(lstm, name + way)) for name in names])
                    for way in directions
                ]
                self.register_buffer(f"{kind}_{layer}", torch.stack(rows))

    def forward(self, sequence: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, frames, inputs) -> (batch, frames, 2 * hidden), padding zero."""
        batch, frames, _ = sequence.shape
        lengths = mask.sum(dim=1).to(torch.int32)
        sequence = sequence.transpose(0, 1)
        for layer in range(self.layers):
            weights = [getattr(self, f"{kind}_{layer}") for kind in ("input", "hidden", "bias")]
            output = torch.onnx.ops.symbolic(
                "LSTM",
                (sequence, *weights, lengths),
                {"hidden_size": self.hidden, "direction": "bidirectional"},
                dtype=sequence.dtype,
                shape=(frames, 2, batch, self.hidden),
            )
            sequence = output.transpose(1, 2).flatten(2)
        return sequence.transpose(0, 1)


def _gates(rows: torch.Tensor) -> torch.Tensor:
    into, forget, cell, out = rows.chunk(4)
    return torch.cat([into, out, forget, cell])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide warnings and log lines of the exporter, which are about its own future and optional
    packages.
    """
    level = logging.root.manager.disable
    handlers = list(logging.root.handlers)
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(level)
        # the quantizer logs by the root logger, which adds a handler
        logging.root.handlers[:] = handlers


def quantize(source: Path, path: Path) -> None:
    """Write a copy of an exported file with int8 weights.

    Weights become integers; activations are quantized at each call, by the range of the batch, so
    that a clip's logits would depend on the other clips: `padding_safe` is false in the metadata,
    and clips are processed one at a time. Linear and recurrent layers are quantized, and
    convolutions in networks without a pretrained encoder. Feature extraction stays float32: quiet
    bands of a filter bank lie 60 dB and more below the loud ones, and 8 bits hold 48.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(source)
    metadata = {item.key: item.value for item in model.metadata_props}
    scopes = {
        node.name: " ".join(item.value for item in node.metadata_props) for node in model.graph.node
    }
    excluded = [
        node
        for node, scope in scopes.items()
        if any(re.search(rf"'{name}['.]", scope) for name in _FEATURES)
    ]
    # the quantizer refuses computed ones
    weights = {weight.name for weight in model.graph.initializer}
    excluded += [
        node.name
        for node in model.graph.node
        if node.op_type == "Conv" and node.input[1] not in weights
    ]
    # Integer kernels of convolutions need unsigned weights with one range a layer; others lose less
    # with a range for each channel. A Gemm becomes a MatMul.
    settings = {
        "op_types_to_quantize": ["MatMul", "LSTM"],
        "weight_type": QuantType.QInt8,
        "per_channel": True,
    }
    if metadata["model_type"].startswith("ser_") and metadata["model_type"] != "ser_encoder":
        settings = {
            "op_types_to_quantize": ["MatMul", "LSTM", "Conv"],
            "weight_type": QuantType.QUInt8,
        }
    # It contains the shapes of weights, which change where a Gemm becomes a MatMul; they are
    # inferred again.
    del model.graph.value_info[:]
    with _quiet():  # it recommends preprocessing that the exporter has done already
        quantize_dynamic(model, path, nodes_to_exclude=excluded, **settings)
    quantized = onnx.load(path)
    metadata |= {"padding_safe": "false", "quantized": "int8 weights, dynamic"}
    onnx.helper.set_model_props(quantized, metadata)
    onnx.save(quantized, path)
