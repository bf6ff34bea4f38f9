"""Export of trained classifiers to ONNX files that run without ser_hf, and to pages that do."""

from .onnx import export_model, export_onnx
from .web import export_web

__all__ = ["export_model", "export_onnx", "export_web"]
