"""Trained models as files that run without ser_hf: ONNX and torch.export, from the waveform to probabilities.

`preparation` and `extractors` say in tensors what a feature extractor does, `graph` puts them before the network,
`onnx` and `torch_program` write the file, `quantization` makes the weights of one int8. `session` runs an ONNX file
with numpy and onnxruntime alone, `comparison` holds what a file answers to what its model does, `corpus_cost` does so
on a corpus, `model_file` is the whole way, from a model's name. `run_onnx.py` is what stands beside a file;
`microphone` asks a model about what is said now.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .model_file import export_model
    from .onnx import export_onnx
    from .session import OnnxSession
    from .torch_program import export_torch

# Imported on first use: whoever runs a file waits for neither torch nor its exporter.
_HOMES = {
    "OnnxSession": "session",
    "export_model": "model_file",
    "export_onnx": "onnx",
    "export_torch": "torch_program",
}

__all__ = ["OnnxSession", "export_model", "export_onnx", "export_torch"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
