"""The estimate of memory counts what a step creates, and the largest batch divides a step."""

import pytest
import torch
from torch import nn

from ser_hf.training.memory import (
    MemoryEstimate,
    PeakMemory,
    fits_in_main_memory,
    largest_batch,
)

MEGABYTE = 2**20


def test_the_peak_counts_tensors_until_they_are_freed():
    with PeakMemory() as memory:
        first = torch.zeros(MEGABYTE // 4)
        del first
        second = torch.zeros(MEGABYTE // 4)
        third = second + 1
    assert memory.peak == 2 * MEGABYTE
    assert memory.bytes == 2 * MEGABYTE
    del second, third
    assert memory.bytes == 0


def test_views_and_changes_in_place_take_no_memory():
    with PeakMemory() as memory:
        values = torch.zeros(4, MEGABYTE // 16)
        values.add_(1)
        values.view(-1)[::2].mul_(2)
        transposed = values.T
    assert memory.peak == MEGABYTE
    assert transposed.untyped_storage().nbytes() == MEGABYTE


def test_a_backward_pass_keeps_the_gradients():
    layer = nn.Linear(256, 256, bias=False)
    inputs = torch.zeros(8, 256)
    with PeakMemory() as memory:
        layer(inputs).sum().backward()
    assert memory.peak >= layer.weight.nbytes
    assert memory.bytes >= layer.weight.nbytes
    layer.zero_grad(set_to_none=True)
    assert memory.bytes < layer.weight.nbytes


def test_a_step_or_an_evaluation_needs_the_most():
    estimate = MemoryEstimate(base=100, moments=10, first=5, next=2, evaluation=8)
    assert estimate.total(1) == 118
    assert estimate.total(4) == 100 + 10 + 5 + 3 * 2


@pytest.mark.parametrize(
    ("step_size", "limit", "expected"),
    [(16, 16, 16), (16, 100, 16), (16, 15, 8), (12, 5, 4), (7, 6, 1), (8, 0, None)],
)
def test_the_largest_batch_divides_the_step(step_size, limit, expected):
    assert largest_batch(step_size, lambda clips: clips <= limit) == expected


def test_a_batch_that_exhausts_the_memory_of_a_gpu_does_not_fit():
    tried = []

    def fits(clips):
        tried.append(clips)
        if clips > 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return True

    assert largest_batch(16, fits) == 4
    assert tried == [16, 8, 4]


def test_another_fault_is_no_lack_of_memory():
    def fits(clips):
        raise RuntimeError("the sizes differ")

    with pytest.raises(RuntimeError, match="sizes"):
        largest_batch(4, fits)


def test_processes_share_the_free_memory(monkeypatch):
    monkeypatch.setattr("ser_hf.training.memory.free_memory", lambda: 1000)
    estimate = MemoryEstimate(base=10_000, moments=0, first=100, next=100, evaluation=0)
    assert largest_batch(16, fits_in_main_memory(estimate, processes=1)) == 8
    assert largest_batch(16, fits_in_main_memory(estimate, processes=2)) == 4


PARTS = {"base": 1000, "moments": 10, "first": 40, "next": 20, "evaluation": 0}


def test_the_parts_of_an_estimate_add_up():
    plain = MemoryEstimate(**PARTS)
    assert plain.total(3) == 1000 + 10 + 40 + 2 * 20
    in_process = MemoryEstimate(**PARTS, workspace=1.5, growth=1.25)
    assert in_process.total(3) == round(1.25 * (1000 + 10 + 1.5 * 80))


def test_the_report_needs_the_most_in_a_small_training():
    estimate = MemoryEstimate(**PARTS, report=500)
    assert estimate.total(1) == 1500
    assert estimate.total(100) == MemoryEstimate(**PARTS).total(100) > 1500
