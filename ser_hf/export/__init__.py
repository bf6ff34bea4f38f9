"""Export of trained classifiers to ONNX files that run without ser_hf."""

from .onnx import export_onnx
from .verified_export import export_model

__all__ = ["export_model", "export_onnx"]
