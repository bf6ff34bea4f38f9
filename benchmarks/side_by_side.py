"""Two ways timed in turns, and the table of what came of it; clips of RAVDESS for both."""

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


def turns(ways: dict[str, Callable[[], tuple[float, float]]], repeats: int) -> dict[str, Times]:
    """Name -> `seconds` that each way took in each repeat, and `cpu`, those of the processor over all threads.

    The order turns round from one repeat to the next, so that a machine that slows down slows both.
    """
    measured: dict[str, Times] = {name: {"seconds": [], "cpu": []} for name in ways}
    for repeat in range(repeats):
        for name in list(ways)[:: 1 if repeat % 2 == 0 else -1]:
            seconds, cpu = ways[name]()
            measured[name]["seconds"].append(seconds)
            measured[name]["cpu"].append(cpu)
            print(f"  {name}: {seconds:.2f} s, of the processor {cpu:.2f} s", flush=True)
    return measured


def clock(work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds that it takes, and those of the processor."""
    began, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - cpu


def row(what: str, against: str, clips: int, ours: Times, theirs: Times, target: float | None = None) -> dict:
    """One line of the table: how many times faster ours is, repeat by repeat, with `clips` for each."""
    ratios = _ratios(theirs["seconds"], ours["seconds"])
    made = {
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
        # Other work on the machine counts for little in it; what several threads gain, or waiting costs, for nothing.
        made["cpu_ratios"] = _ratios(theirs["cpu"], ours["cpu"])
    return made


def _ratios(theirs: list[float], ours: list[float]) -> list[float]:
    return [other / own for own, other in zip(ours, theirs, strict=True)]


def table(parts: dict[str, dict[str, Any]]) -> str:
    """Markdown of all that was measured."""
    lines = [
        "| what | against | clips per second | there | times faster | least to most | target |",
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
    return "\n".join(lines if "e" in parts else [*lines, "| e: steps on a GPU | | no GPU | | | | |"])


def corpus(root: str, count: int) -> tuple[Dataset, WaveformStore, dict[str, list[int]]]:
    """RAVDESS, its waveforms, and so many clips of the training speakers, a quarter as many of the validation's."""
    dataset, store = ser_hf.prepare(ser_hf.load_corpus("ravdess", root))
    options = {key: value for key, value in SPLIT.items() if key != "name"}
    whole = ser_hf.split_corpus(dataset, SPLIT["name"], **options)[0].rows
    wanted = {"train": count, "validation": count // 4}
    return dataset, store, {name: thinned(whole[name], size) for name, size in wanted.items()}


def thinned(rows: list[int], size: int) -> list[int]:
    """So many of them, evenly."""
    return [rows[i] for i in np.linspace(0, len(rows) - 1, min(size, len(rows))).round().astype(int)]


def written(store: WaveformStore, rows: list[int], folder: Path, kind: str) -> dict[int, str]:
    """The clips as files of 16 bit, such as "48 kHz WAV"; row -> path."""
    folder.mkdir()
    rate, suffix = 1000 * int(kind.split()[0]), kind.split()[-1].lower()
    paths = {}
    for index in rows:
        waveform = store[index] if rate == RATE else soxr.resample(store[index], RATE, rate)
        paths[index] = str(folder / f"{index}.{suffix}")
        soundfile.write(paths[index], waveform, rate, subtype="PCM_16")
    return paths


def encoder_config(quick: bool = False) -> Wav2Vec2Config:
    """As wav2vec2-base; `quick`: much smaller."""
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    # A layer that is dropped would make a step look cheap.
    return Wav2Vec2Config(num_labels=8, layerdrop=0.0, **(small | {"conv_dim": (16,) * 7} if quick else {}))
