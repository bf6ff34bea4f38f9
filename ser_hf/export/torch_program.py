"""Networks as programs of torch.export (.pt2): waveform in, logits and probabilities out, run by torch alone.

TorchScript, which did this before, is deprecated since torch 2.12; `torch.export` is what replaces it. A program knows
no packed sequences, which a `BiLSTM` on a CPU does without.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel, SequenceFeatureExtractor

from ..errors import UserError
from .graph import facts_of, graph_of
from .session import padded
from .tracing import DYNAMIC, example_of, quiet, told_of

SUFFIX = ".pt2"
FACTS = "ser_hf.json"


def export_torch(
    model: PreTrainedModel,
    path: Path | str,
    extractor: SequenceFeatureExtractor | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Path:
    """Writes `model` to `path` as an exported program, in evaluation mode and float32; the model stays as it is.

    ``torch.export.load(path).module(check_guards=False)(input_values=..., attention_mask=...)`` gives logits and
    probabilities, as `ser_hf.export.onnx.export_onnx` describes them; the facts are JSON in its extra file
    ``ser_hf.json``. The guards have to be left unchecked: they hold what torch supposed of the number of frames while
    it followed poolings and LSTMs through the example's, which both take in any number when they run.

    Args:
        extractor, facts: see `ser_hf.export.onnx.export_onnx`.

    Raises:
        UserError: if the network or its extractor cannot be exported, or the file cannot be written.
    """
    path = Path(path)
    graph = graph_of(model, extractor)
    told = facts_of(graph) | dict(facts or {})
    example = example_of(told["sampling_rate"])
    free = torch.export.Dim.DYNAMIC
    shapes = {name: dict.fromkeys(axes, free) for name, axes in DYNAMIC.items()}
    with quiet(), torch.no_grad(), torch.fx.experimental._config.patch(backed_size_oblivious=True):
        try:
            program = torch.export.export(graph, (), kwargs=example, dynamic_shapes=shapes)
        except Exception as error:  # of many classes, most of them private
            raise UserError(f"{type(model).__name__} cannot be exported by torch.export: {told_of(error)}") from error
    graphs = [part.graph for part in program.graph_module.modules() if isinstance(part, torch.fx.GraphModule)]
    for node in (node for graph in graphs for node in graph.nodes):
        node.meta.pop("stack_trace", None)  # lines of code, with the paths of their files
    return _write(program, path, json.dumps(told, ensure_ascii=False))


def load_program(path: Path | str) -> tuple[nn.Module, dict[str, Any]]:
    """The module of a program, which takes clips of any length, and its facts."""
    told = {FACTS: ""}
    with quiet():
        module = torch.export.load(path, extra_files=told).module(check_guards=False)
    return module, json.loads(told[FACTS])


class TorchProgram:
    """An exported program, asked as `ser_hf.export.session.OnnxSession` is."""

    def __init__(self, path: Path | str):
        self.module, self.facts = load_program(path)

    @torch.inference_mode()
    def ask(self, input_values: np.ndarray, attention_mask: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        mask = np.ones(input_values.shape, np.int64) if attention_mask is None else attention_mask
        given = {"input_values": torch.from_numpy(input_values.copy()), "attention_mask": torch.from_numpy(mask)}
        return tuple(output.numpy() for output in self.module(**given))

    def alone(self, clips: list[np.ndarray]) -> np.ndarray:
        return np.concatenate([self.ask(clip[None])[0] for clip in clips])

    def together(self, clips: list[np.ndarray]) -> np.ndarray:
        return self.ask(*padded(clips))[0]


def _write(program: torch.export.ExportedProgram, path: Path, facts: str) -> Path:
    partial = path.with_name(f"{path.name}.partial{SUFFIX}")  # torch minds the suffix
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with quiet():
            torch.export.save(program, partial, extra_files={FACTS: facts})
        os.replace(partial, path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        partial.unlink(missing_ok=True)
    return path
