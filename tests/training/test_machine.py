"""Settings that depend on the machine, with simulated machines."""

import pytest
import torch

from ser_hf.training.arguments import data_workers, set_precision
from ser_hf.utils.errors import UserError


@pytest.fixture
def machine(monkeypatch):
    """A GPU of some capability (None: no GPU)."""

    def make(capability, bf16=False, cores=12):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: capability is not None)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Some GPU")
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
        monkeypatch.setattr("ser_hf.training.arguments.usable_cores", lambda: cores)

    return make


@pytest.mark.parametrize(
    ("capability", "bf16", "word", "expected"),
    [
        (None, False, "auto", (False, False, None)),
        (None, False, "bf16", (True, False, None)),
        ((7, 5), False, "auto", (False, True, None)),
        ((7, 5), False, "fp32", (False, False, None)),
        ((9, 0), True, "auto", (True, False, False)),
        ((9, 0), True, "tf32", (False, False, True)),
        ((9, 0), True, "fp32", (False, False, False)),
        ((9, 0), True, "fp16", (False, True, False)),
    ],
)
def test_precision_follows_the_device(machine, capability, bf16, word, expected):
    machine(capability, bf16)
    cudnn = torch.backends.cudnn
    before = [layers.fp32_precision for layers in (cudnn.conv, cudnn.rnn)]
    try:
        precision = set_precision(word)
        assert (precision.bf16, precision.fp16, precision.tf32) == expected
        if capability == (9, 0):  # cuDNN's default is TF32
            expected_precision = "tf32" if word == "tf32" else "ieee"
            assert (cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision) == (
                expected_precision,
                expected_precision,
            )
    finally:
        cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision = before


@pytest.mark.parametrize(
    ("capability", "word", "device"),
    [
        (None, "fp16", "a machine without a CUDA GPU"),
        (None, "tf32", "a machine"),
        ((7, 5), "bf16", "Some GPU"),
    ],
)
def test_a_precision_that_the_device_lacks_is_refused(machine, capability, word, device):
    machine(capability)
    with pytest.raises(
        UserError, match=rf"training\.precision: {word} is not supported by {device}"
    ):
        set_precision(word)


@pytest.mark.parametrize(
    ("capability", "processes", "workers"),
    [(None, 1, 0), ((9, 0), 1, 8), ((9, 0), 2, 5), ((9, 0), 12, 0)],
)
def test_data_workers_use_the_cores_that_training_does_not(
    machine, monkeypatch, capability, processes, workers
):
    machine(capability)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert data_workers() == workers
