"""An exported ONNX file, asked by onnxruntime and numpy alone: neither torch nor transformers is imported here."""

import importlib.util
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError

SUFFIX = ".onnx"


class OnnxSession:
    """What a file written by `ser_hf.export` answers.

    `facts` is its metadata, JSON read (`ser_hf.export.graph.facts_of`); `labels`, `sampling_rate` (Hz) and
    `multi_label` are what is needed most of it.

    Raises:
        UserError: naming the file, if it cannot be read, or was not written here; if onnxruntime is missing.
    """

    def __init__(self, path: str | os.PathLike):
        if importlib.util.find_spec("onnxruntime") is None:
            raise UserError(f'{path}: an ONNX file needs onnxruntime: pip install "ser_hf[onnx]"')
        import onnxruntime

        self.path = Path(path)
        if not self.path.is_file():
            raise UserError(f"{path}: no such file")
        options = onnxruntime.SessionOptions()
        # 0 leaves it to the runtime, which does not know this variable.
        threads = os.environ.get("OMP_NUM_THREADS", "")
        options.intra_op_num_threads = int(threads) if threads.isdecimal() else 0
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(self.path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # of classes that the runtime does not publish
            raise UserError(f"{path}: no ONNX file that onnxruntime can run: {_first_line(error)}") from None
        self.facts = _facts(self.session.get_modelmeta().custom_metadata_map)
        names = {value.name for value in self.session.get_outputs()}
        if not {"id2label", "sampling_rate"} <= set(self.facts) or not {"logits", "probabilities"} <= names:
            raise UserError(f"{path}: written by another exporter than ser-hf export; export the model with that")
        names = self.facts["id2label"]
        self.labels = [names[number] for number in sorted(names, key=int)]
        self.sampling_rate: int = self.facts["sampling_rate"]
        self.multi_label: bool = self.facts.get("multi_label", False)

    def ask(self, input_values: np.ndarray, attention_mask: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Logits and probabilities, float32 (batch, labels) each.

        Args:
            input_values: float32 (batch, samples).
            attention_mask: (batch, samples), 1 where the clip is; None where all is.
        """
        mask = np.ones(input_values.shape, np.int64) if attention_mask is None else attention_mask.astype(np.int64)
        given = {"input_values": np.ascontiguousarray(input_values, np.float32), "attention_mask": mask}
        return tuple(self.session.run(["logits", "probabilities"], given))

    def alone(self, clips: Sequence[np.ndarray]) -> np.ndarray:
        """Logits, float32 (clips, labels), of waveforms float32 (samples,), one at a time."""
        return np.concatenate([self.ask(clip[None])[0] for clip in clips])

    def together(self, clips: Sequence[np.ndarray]) -> np.ndarray:
        """Logits, float32 (clips, labels), of waveforms that are padded into one batch."""
        return self.ask(*padded(clips))[0]


def padded(clips: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Waveforms (samples,) as one batch, float32 (batch, samples), and its mask, int64.

    What is behind a clip's end is no silence, as nothing there may matter.
    """
    lengths = np.array([len(clip) for clip in clips])
    mask = np.arange(lengths.max()) < lengths[:, None]
    batch = np.full(mask.shape, 0.5, np.float32)
    batch[mask] = np.concatenate(clips)
    return batch, mask.astype(np.int64)


def _facts(metadata: dict[str, str]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for key, text in metadata.items():
        try:
            facts[key] = json.loads(text)
        except ValueError:  # words
            facts[key] = text
    return facts


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
