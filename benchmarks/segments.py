"""Measure segments of long recordings: reading, memory, speech that is found, and error rates.

    OMP_NUM_THREADS=1 python benchmarks/segments.py --ravdess data/RAVDESS --emodb data/EMO-DB
        [--hours 3] [--segments 2000] [--results benchmarks/results/segments.json]

A recording is made by joining clips of several speakers of both corpora with pauses of 0.3 to 2 s,
so that its truth is known. The script measures

- how long the store of its segments takes against decoding the same samples alone, with the
  largest memory of the process;
- whether the segments equal clips that are cut into files (largest difference of samples);
- precision and recall, by time, of the speech that Silero's detector finds in the first part of the
  recording. Speech is what is above -40 dB of the loudest 25 ms of its clip.
"""

import argparse
import json
import platform
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from ser_hf.audio.build_store import open_store
from ser_hf.audio.speech import find_speech
from ser_hf.utils.segments import Segment

RATE = 16000
SPEECH_MINUTES = 10  # of the recording, in which speech is searched
_FRAME = 400


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ravdess", type=Path, default=Path("data/RAVDESS"))
    parser.add_argument("--emodb", type=Path, default=Path("data/EMO-DB"))
    parser.add_argument("--hours", type=float, default=3.0)
    parser.add_argument("--segments", type=int, default=2000)
    parser.add_argument(
        "--results", type=Path, default=Path(__file__).parent / "results" / "segments.json"
    )
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        results = measure(Path(folder), options)
    results["machine"] = platform.processor() or platform.machine()
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=1))


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Make the recording in a folder, and measure it."""
    clips = sorted(options.ravdess.rglob("*.flac")) + sorted(options.emodb.rglob("*.flac"))
    recording = folder / "recording.flac"
    segments, speech = make_recording(recording, clips, options.hours, options.segments)
    seconds = sum(segment.end - segment.start for segment in segments)

    started = time.perf_counter()
    source = {"path": str(recording), "bytes": None}
    store = open_store([source] * len(segments), RATE, folder / "cache", segments=segments)
    store_seconds = time.perf_counter() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    started = time.perf_counter()
    worst = 0.0
    with soundfile.SoundFile(recording) as file:
        for row, segment in enumerate(segments):
            file.seek(round(segment.start * RATE))
            samples = file.read(
                round(segment.end * RATE) - round(segment.start * RATE), dtype="float32"
            )
            if row % 100 == 0:
                worst = max(worst, float(np.abs(samples - store[row]).max()))
    decode_seconds = time.perf_counter() - started

    return {
        "hours": options.hours,
        "segments": len(segments),
        "seconds_of_segments": round(seconds, 1),
        "store_seconds": round(store_seconds, 2),
        "decode_seconds": round(decode_seconds, 2),
        "peak_memory_mib": round(memory),
        "largest_difference": worst,
        "speech": measure_speech(recording, speech),
    }


def make_recording(
    path: Path, clips: list[Path], hours: float, count: int
) -> tuple[list[Segment], list[np.ndarray]]:
    """Write the recording; return its segments, and for each frame whether it is speech."""
    generator = np.random.default_rng(0)
    total = round(hours * 3600 * RATE)
    segments = []
    speech = []
    position = 0
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        while position < total:
            clip, rate = soundfile.read(clips[generator.integers(len(clips))], always_2d=True)
            assert rate == RATE
            samples = clip.mean(axis=1)
            samples = samples[: len(samples) // _FRAME * _FRAME]
            pause = int(generator.uniform(0.3, 2.0) * RATE) // _FRAME * _FRAME
            file.write(np.zeros(pause))
            file.write(samples)
            speech.append(np.zeros(pause // _FRAME, dtype=bool))
            powers = np.square(samples.reshape(-1, _FRAME)).mean(axis=1)
            speech.append(powers > powers.max() * 1e-4)
            position += pause
            if len(segments) < count:
                segments.append(Segment(position / RATE, (position + len(samples)) / RATE))
            position += len(samples)
    return segments, speech


def measure_speech(recording: Path, speech: list[np.ndarray]) -> dict[str, float]:
    """Precision and recall of the speech that is found, by time."""
    truth = np.concatenate(speech)[: SPEECH_MINUTES * 60 * RATE // _FRAME]
    part = recording.with_name("part.flac")
    samples, _ = soundfile.read(recording, frames=len(truth) * _FRAME)
    soundfile.write(part, samples, RATE)
    started = time.perf_counter()
    segments = find_speech(str(part))
    seconds = time.perf_counter() - started
    found = np.zeros(len(truth), dtype=bool)
    for segment in segments:
        found[round(segment.start * RATE / _FRAME) : round(segment.end * RATE / _FRAME)] = True
    return {
        "minutes": SPEECH_MINUTES,
        "segments": len(segments),
        "precision": round(float((found & truth).sum() / found.sum()), 3),
        "recall": round(float((found & truth).sum() / truth.sum()), 3),
        "times_real_time": round(SPEECH_MINUTES * 60 / seconds, 1),
    }


if __name__ == "__main__":
    main()
