"""Compare the preparation of 48 kHz recordings to decoding and resampling with libsndfile and soxr
alone.

    python benchmarks/prepare_audio.py FOLDER [--hours 1] [--rounds 5]

Takes the WAV files below FOLDER (48 kHz, such as RAVDESS as released) and repeats them to
`--hours`. Two ways alternate: a plain loop of soundfile.read, mean over channels and soxr.resample
on one core, which is the minimum cost of decoding in each epoch; and `ser_hf.audio.open_store`,
which decodes on all cores, checks each file, hashes its content and writes the memory-mapped store.
Writes medians and their ratio to benchmarks/results/prepare_audio.json.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import soundfile
import soxr

from ser_hf.audio import open_store
from ser_hf.experiment.sections import environment_section

RATE = 16000


def decode_seconds(paths: list[str]) -> float:
    """Return the seconds in which every file is decoded, mixed and resampled, without saving it."""
    began = time.perf_counter()
    for path in paths:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        soxr.resample(samples.mean(axis=1), rate, RATE)
    return time.perf_counter() - began


def store_seconds(paths: list[str], workers: int | None) -> float:
    """Return the seconds in which a new store is built; the store is deleted."""
    folder = tempfile.mkdtemp()
    began = time.perf_counter()
    open_store([{"path": path, "bytes": None} for path in paths], RATE, folder, workers)
    seconds = time.perf_counter() - began
    shutil.rmtree(folder)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    files = sorted(str(path) for path in options.folder.rglob("*.wav"))
    if not files:
        parser.error(f"{options.folder}: no .wav file")
    seconds = sum(soundfile.info(path).duration for path in files)
    repeats = max(1, round(3600 * options.hours / seconds))
    paths = files * repeats
    decode_seconds(files)  # warms the file cache for both
    measured = {"bare": [], "store_one_core": [], "store": []}
    for _ in range(options.rounds):
        measured["bare"].append(decode_seconds(paths))
        measured["store_one_core"].append(store_seconds(paths, 1))
        measured["store"].append(store_seconds(paths, None))
    medians = {name: statistics.median(values) for name, values in measured.items()}
    result = {
        "audio_seconds": seconds * repeats,
        "files": len(paths),
        "source_rate": soundfile.info(files[0]).samplerate,
        "seconds": measured,
        "median_seconds": medians,
        "ratio_to_bare": {
            name: medians[name] / medians["bare"] for name in ("store_one_core", "store")
        },
        "environment": environment_section().to_dict(),
    }
    target = Path(__file__).parent / "results" / "prepare_audio.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(result, indent=1) + "\n")
    print(
        json.dumps(
            {key: result[key] for key in ("audio_seconds", "median_seconds", "ratio_to_bare")},
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
