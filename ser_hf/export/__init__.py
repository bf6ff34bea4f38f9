"""Export of trained classifiers to ONNX files that run without ser_hf."""

from .onnx import export_model, export_onnx

__all__ = ["export_model", "export_onnx"]
