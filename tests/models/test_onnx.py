"""Exported networks have the outputs of torch for batches and lengths other than those of the export.

Two files share the networks, see `onnx_networks.SHARES`; this one also has what the export refuses.
"""

import importlib.util
import sys

import pytest
from built import built
from onnx_networks import EXTRACTOR, SHARES, assert_logits_as_in_torch
from torch import nn

from ser_hf.export import export_onnx
from ser_hf.utils.errors import UserError


@pytest.mark.slow
@pytest.mark.parametrize("name", SHARES[0])
def test_every_network_has_the_logits_of_torch(name, runtime, tmp_path):
    assert_logits_as_in_torch(name, runtime, tmp_path)


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_missing_packages_are_refused(package, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    if importlib.util.find_spec("onnx") is None and package == "onnxscript":
        pytest.skip("both are missing")
    with pytest.raises(UserError, match=rf'{package}: pip install "ser_hf\[onnx\]"'):
        export_onnx(built("crnn"), tmp_path / "model.onnx", EXTRACTOR)


def test_a_bare_recurrent_layer_is_refused(runtime, tmp_path):
    model = built("crnn")
    model.extra = nn.GRU(4, 4)
    with pytest.raises(UserError, match="CRNNForAudioClassification cannot be exported to ONNX: extra is a GRU"):
        export_onnx(model, tmp_path / "model.onnx", EXTRACTOR)
