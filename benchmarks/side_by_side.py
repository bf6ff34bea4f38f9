"""Helpers of the throughput benchmarks: alternating timings, the table of results, and clips of
RAVDESS.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from datasets import Dataset
from fixed_split import SPLIT
from transformers import Wav2Vec2Config

import ser_hf
from ser_hf.audio import WaveformStore

RATE = 16000
Times = dict[str, list[float]]


def time_alternately(
    functions: dict[str, Callable[[], tuple[float, float]]], repeats: int
) -> dict[str, Times]:
    """Time functions alternately; return name -> `seconds` of each repeat and `cpu`, processor
    seconds of all threads.

    The order is reversed in every other repeat, so that a machine that becomes slower affects all
    of them.
    """
    measured: dict[str, Times] = {name: {"seconds": [], "cpu": []} for name in functions}
    for repeat in range(repeats):
        for name in list(functions)[:: 1 if repeat % 2 == 0 else -1]:
            seconds, cpu = functions[name]()
            measured[name]["seconds"].append(seconds)
            measured[name]["cpu"].append(cpu)
            print(f"  {name}: {seconds:.2f} s, {cpu:.2f} s of processor time", flush=True)
    return measured


def clock(work: Callable[[], Any]) -> tuple[float, float]:
    """Return wall seconds and processor seconds of a call."""
    began = time.perf_counter()
    cpu = time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - cpu


def row(
    what: str, against: str, clips: int, ours: Times, theirs: Times, target: float | None = None
) -> dict:
    """Return one row of the table: the speed-up of ours in each repeat, for `clips` clips."""
    ratios = _ratios(theirs["seconds"], ours["seconds"])
    result = {
        "what": what,
        "against": against,
        "clips": clips,
        "seconds": ours["seconds"],
        "seconds_against": theirs["seconds"],
        "clips_per_second": clips / statistics.median(ours["seconds"]),
        "clips_per_second_against": clips / statistics.median(theirs["seconds"]),
        "ratios": ratios,
        "ratio": statistics.median(ratios),
        "target": target,
    }
    if "cpu" in ours:
        # Other processes hardly affect processor time. It shows neither the gain of threads nor the
        # cost of waits.
        result["cpu_ratios"] = _ratios(theirs["cpu"], ours["cpu"])
    return result


def _ratios(theirs: list[float], ours: list[float]) -> list[float]:
    return [other / mine for mine, other in zip(ours, theirs, strict=True)]


def table(parts: dict[str, dict[str, Any]]) -> str:
    """Format all parts as Markdown."""
    lines = [
        "| setting | compared with | clips/s | clips/s of the other | speed-up | range | goal |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, measured in sorted(parts.items()):
        for one in measured["rows"]:
            target = "" if one["target"] is None else f"{one['target']:g}"
            lines.append(
                f"| {name}: {one['what']} | {one['against']} | {one['clips_per_second']:,.1f} | "
                f"{one['clips_per_second_against']:,.1f} | {one['ratio']:.2f} | "
                f"{min(one['ratios']):.2f} to {max(one['ratios']):.2f} | {target} |"
            )
    return "\n".join(
        lines if "e" in parts else [*lines, "| e: steps on a GPU | | no GPU | | | | |"]
    )


def corpus(root: str, count: int) -> tuple[Dataset, WaveformStore, dict[str, list[int]]]:
    """Load RAVDESS; select `count` clips of the training speakers, a quarter as many of the
    validation speakers.
    """
    dataset, store = ser_hf.prepare(ser_hf.load_corpus("ravdess", root))
    options = {key: value for key, value in SPLIT.items() if key != "name"}
    split = ser_hf.split_corpus(dataset, SPLIT["name"], **options)[0].rows
    sizes = {"train": count, "validation": count // 4}
    return dataset, store, {name: thin_out(split[name], size) for name, size in sizes.items()}


def thin_out(rows: list[int], size: int) -> list[int]:
    """Select `size` of the rows at equal distances."""
    return [
        rows[i] for i in np.linspace(0, len(rows) - 1, min(size, len(rows))).round().astype(int)
    ]


def write_clips(store: WaveformStore, rows: list[int], folder: Path, kind: str) -> dict[int, str]:
    """Write clips as 16-bit files of a kind such as "48 kHz WAV"; return row -> path."""
    folder.mkdir()
    rate = 1000 * int(kind.split()[0])
    suffix = kind.split()[-1].lower()
    paths = {}
    for index in rows:
        waveform = store[index] if rate == RATE else soxr.resample(store[index], RATE, rate)
        paths[index] = str(folder / f"{index}.{suffix}")
        soundfile.write(paths[index], waveform, rate, subtype="PCM_16")
    return paths


def encoder_config(quick: bool = False) -> Wav2Vec2Config:
    """Return the configuration of wav2vec2-base, or of a much smaller encoder with `quick`."""
    small = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
    # Without layerdrop: a dropped layer would make a step faster.
    return Wav2Vec2Config(
        num_labels=8, layerdrop=0.0, **(small | {"conv_dim": (16,) * 7} if quick else {})
    )
