"""Measure training steps of an encoder on a GPU by precision, attention and compilation: part e of
`throughput.py`.
"""

import argparse
import statistics
import time

import torch
from side_by_side import encoder_config, row
from torch.utils.flop_counter import FlopCounterMode
from transformers import Wav2Vec2Config, Wav2Vec2ForSequenceClassification

from ser_hf.utils.environment import exact_float32

# Peak of dense bfloat16 products with float32 sums in 1e12 operations/s, from NVIDIA's data sheets
# (T4: float16).
PEAKS = {
    "H200": 989.0,
    "H100 PCIe": 756.0,
    "H100": 989.0,
    "A100": 312.0,
    "L40S": 362.0,
    "L40": 181.0,
    "L4": 121.0,
    "A10": 125.0,
    "RTX 4090": 165.0,
    "T4": 65.0,
}
# Name -> autocast to bf16, TF32, attention, compiled.
SETTINGS = {
    "fp32": (False, False, "eager", False),
    "tf32": (False, True, "eager", False),
    "bf16": (True, False, "eager", False),
    "bf16, SDPA": (True, False, "sdpa", False),
    "bf16, SDPA, compiled": (True, False, "sdpa", True),
}


def gpu_steps(options: argparse.Namespace) -> list[dict]:
    """Measure batches of 32 clips of 5 s with the whole encoder trainable; on the CPU for a trial
    without a GPU.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    sizes = (2, 1.0, 2) if options.quick else (32, 5.0, 10)
    measured = steps(device, encoder_config(options.quick), *sizes, repeats=min(2, options.repeats))
    peak_rate = peak(torch.cuda.get_device_name()) if device.type == "cuda" else None
    lines = []
    for name, result in measured.items():
        share = (
            result["operations"] / statistics.median(result["seconds"]) / peak_rate
            if peak_rate
            else None
        )
        percentage = "" if share is None else f", {100 * share:.0f} % of the bf16 peak"
        times = {"seconds": result["seconds"]}, {"seconds": measured["fp32"]["seconds"]}
        lines.append(
            row(f"wav2vec2-base-sized encoder, {name}{percentage}", "fp32", result["batch"], *times)
        )
        lines[-1] |= {"operations": result["operations"], "share_of_peak": share}
    return lines


def peak(name: str) -> float | None:
    """Return the peak operations per second of a device by its name, None if it is unknown."""
    return next((1e12 * value for part, value in PEAKS.items() if part in name), None)


def steps(
    device: torch.device,
    config: Wav2Vec2Config,
    batch: int,
    seconds: float,
    count: int,
    repeats: int,
) -> dict[str, dict]:
    """Return setting -> seconds of a step (the median over `count` steps, per repeat) and its
    operations.

    A step is forward, backward and AdamW on `batch` waveforms of noise. The settings alternate.
    """
    torch.manual_seed(0)
    waveforms = 0.1 * torch.randn(batch, round(16000 * seconds), device=device)
    labels = torch.arange(batch, device=device) % config.num_labels
    operations = _operations(device, config, waveforms, labels)
    measured = {
        name: {"seconds": [], "operations": operations, "batch": batch} for name in SETTINGS
    }
    with exact_float32():  # which restores the precision
        for _ in range(repeats):
            for name in SETTINGS:
                measured[name]["seconds"].append(
                    _median_step(device, config, waveforms, labels, name, count)
                )
    return measured


def _median_step(
    device: torch.device,
    config: Wav2Vec2Config,
    waveforms: torch.Tensor,
    labels: torch.Tensor,
    name: str,
    count: int,
) -> float:
    half, tf32, attention, compiled = SETTINGS[name]
    torch.backends.fp32_precision = torch.backends.cudnn.conv.fp32_precision = (
        "tf32" if tf32 else "ieee"
    )
    model = _model(device, config, attention)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=device.type == "cuda")
    forward = torch.compile(model) if compiled else model
    times = []
    for _ in range(count + 3):  # the first three compile and warm up
        _wait(device)
        began = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            loss = forward(waveforms, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        _wait(device)
        times.append(time.perf_counter() - began)
    return statistics.median(times[3:])


def _operations(
    device: torch.device, config: Wav2Vec2Config, waveforms: torch.Tensor, labels: torch.Tensor
) -> int:
    """Count the floating-point operations of matrix products and convolutions, forward and
    backward.
    """
    model = _model(device, config, "eager")
    with FlopCounterMode(display=False) as counter:
        model(waveforms, labels=labels).loss.backward()
    return counter.get_total_flops()


def _model(
    device: torch.device, config: Wav2Vec2Config, attention: str
) -> Wav2Vec2ForSequenceClassification:
    config._attn_implementation = attention
    return Wav2Vec2ForSequenceClassification(config).to(device).train()


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
