"""Batch normalisation over processes, as far as one process shows it; test_two_processes.py asks two."""

import torch
from batch_norm_script import CASES, Network, steps, stock

from ser_hf.training.averaging import broadcast_buffers, synchronize_batch_norm


def test_processes_on_their_own_would_differ():
    """Or the cases of two processes prove nothing."""
    for shares in CASES.values():
        alone, whole = steps(shares[0]), steps(shares[0] + shares[1])
        difference = alone["state"]["block.norm.running_var"] - whole["state"]["block.norm.running_var"]
        assert difference.abs().max() > 0.1


def test_a_single_process_is_left_alone():
    network, other = Network(), stock()
    assert synchronize_batch_norm(network) == synchronize_batch_norm(other) == 0
    assert not network.norm.synchronised
    assert type(other["encoder"][1]) is torch.nn.BatchNorm1d
    broadcast_buffers(network)
