"""Batch normalisation over processes: two with half the batch each are one with all of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from batch_norm_script import CASES, Network, steps, stock

from ser_hf.training.batch_norm import broadcast_buffers, synchronise_batch_norm

SCRIPT = Path(__file__).with_name("batch_norm_script.py")


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """What each of two processes found."""
    folder = tmp_path_factory.mktemp("processes")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*command, SCRIPT, folder],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def _close(found, expected, what):
    """To the rounding of float32 sums: one process is 1.2e-6 of the largest gradient from what float64 finds."""
    atol = 5e-6 * max(1.0, expected.abs().max().item())
    torch.testing.assert_close(found, expected, rtol=0, atol=atol, msg=lambda text: f"{what}: {text}")


@pytest.mark.slow
@pytest.mark.parametrize("case", list(CASES))
def test_two_processes_are_one_with_the_whole_batch(case, processes):
    shares = CASES[case]
    whole = steps(shares[0] + shares[1])
    for rank, found in enumerate(processes):
        begin = rank * len(shares[0])
        own = slice(begin, begin + len(shares[rank]))
        half = len(whole["clips"]) // 2
        expected = whole["clips"][:half][own] + whole["clips"][half:][own]
        for clip, (alone, together) in enumerate(zip(expected, found[case]["clips"], strict=True)):
            _close(together[0], alone[0], f"output of clip {clip}")
            _close(together[1], alone[1], f"gradient of clip {clip}")
        for part in ("gradients", "state"):
            assert set(found[case][part]) == set(whole[part])
            for name, value in whole[part].items():
                _close(found[case][part][name], value, f"{part} of {name}")


@pytest.mark.slow
def test_processes_on_their_own_would_differ(processes):
    """Or the cases prove nothing."""
    for shares in CASES.values():
        alone, whole = steps(shares[0]), steps(shares[0] + shares[1])
        difference = alone["state"]["block.norm.running_var"] - whole["state"]["block.norm.running_var"]
        assert difference.abs().max() > 0.1


@pytest.mark.slow
def test_stock_layers_become_those_of_torch_on_a_gpu_and_are_refused_elsewhere(processes):
    for found in processes:
        assert found["switched"] == 2
        assert found["kinds"] == ["Linear", "SyncBatchNorm"]
        assert found["kept"]
        assert found["refusals"] == [
            "training.sync_batch_norm: ModuleDict has torch's own batch normalisation (encoder.1), which torch "
            f"synchronises on GPUs only, not on {device!r}; set it to false"
            for device in ("cpu", "mps")
        ]


@pytest.mark.slow
def test_every_process_gets_the_buffers_of_the_first(processes):
    for found in processes:
        buffers = found["buffers"]
        assert buffers["flags"].tolist() == [True, False]
        assert buffers["table"].tolist() == [[0, 3], [1, 4], [2, 5]]
        assert buffers["ours.running_mean"].tolist() == [1, 1, 1]


def test_a_single_process_is_left_alone():
    network, other = Network(), stock()
    assert synchronise_batch_norm(network) == synchronise_batch_norm(other) == 0
    assert not network.norm.synchronised
    assert type(other["encoder"][1]) is torch.nn.BatchNorm1d
    broadcast_buffers(network)
