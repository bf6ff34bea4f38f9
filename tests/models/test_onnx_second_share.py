"""The second share of the networks, see `test_onnx`."""

import pytest
from onnx_networks import SHARES, assert_logits_as_in_torch


@pytest.mark.slow
@pytest.mark.parametrize("name", SHARES[1])
def test_every_network_has_the_logits_of_torch(name, runtime, tmp_path):
    assert_logits_as_in_torch(name, runtime, tmp_path)
