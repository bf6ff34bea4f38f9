"""Measure time and memory of the steps before training by the size of a corpus, also after a kill
and after damage.

    OMP_NUM_THREADS=1 python benchmarks/scale.py [--clips 1000 10000 100000] [--scratch FOLDER]
    [--again] [--readme]

Writes a `csv` corpus of noise (16 kHz, 0.25 s per clip: 24 kB per clip on the disk with its
waveform, 2.4 GB for 100,000 clips). Then it does the steps of a run before training, each time in a
separate process:

- `first`: load the table, split it by speakers, prepare the waveforms, search for near duplicates,
  audit the split. The clips are too short for a match, so only their fingerprints are timed (see
  `benchmarks/near_duplicates.py`);
- `second`: the same with everything prepared;
- `resumed`: prepare in another cache, where an earlier process was killed (SIGKILL) halfway;
- `damaged`: prepare again after one bit of a clip in the middle of the store was flipped;
- `floor`: read each file with libsndfile and do nothing with it, on one thread;
- `added`: prepare in another cache that has a store of the first half of the clips, as after adding
  a second corpus.

Each step has its wall time, its processor time (all threads; the figure to compare on a busy
machine) and its peak of resident memory, and the peak after all imports is measured too. The peak
of `near duplicates` includes pages of the mapped file, which the system can free. Sizes in
benchmarks/results/scale.json are measured again with `--again` only. The corpus and the caches are
deleted at the end.
"""

import argparse
import csv
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

RESULTS = Path(__file__).parent / "results" / "scale.json"
RATE = 16000
SECONDS = 0.25
LABELS = ("angry", "happy", "neutral", "sad")
CLIPS_OF_A_SPEAKER = 50
CLIPS_IN_A_FOLDER = 1000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, nargs="+", default=[1000, 10000, 100000])
    parser.add_argument("--scratch", help="folder for temporary files (default: the system's)")
    parser.add_argument("--again", action="store_true", help="measure sizes that have results")
    parser.add_argument(
        "--readme", action="store_true", help="print the table of the results without measuring"
    )
    parser.add_argument(
        "--start", nargs=4, metavar=("TABLE", "CACHE", "DIE_AT", "LAST"), help=argparse.SUPPRESS
    )
    options = parser.parse_args()
    if options.start:
        table, cache, die_at, last = options.start
        start(Path(table), Path(cache), int(die_at), last)
        return
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"sizes": {}}
    for clips in [] if options.readme else options.clips:
        if str(clips) not in results["sizes"] or options.again:
            with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
                results["sizes"][str(clips)] = measure(clips, Path(scratch))
            save(results)
    print(table_of(results["sizes"]))


def save(results: dict[str, Any]) -> None:
    from ser_hf.experiment.sections import environment_section

    results["sizes"] = dict(sorted(results["sizes"].items(), key=lambda item: int(item[0])))
    results |= {"environment": environment_section().to_dict(), "clip_seconds": SECONDS}
    RESULTS.with_suffix(".partial").write_text(json.dumps(results, indent=1) + "\n")
    RESULTS.with_suffix(".partial").rename(RESULTS)


def measure(clips: int, scratch: Path) -> dict[str, Any]:
    table = write(clips, scratch / "corpus")
    cache = scratch / "cache"
    results: dict[str, Any] = {
        "first": measure_process(table, cache),
        "second": measure_process(table, cache),
    }
    shutil.rmtree(cache)
    measure_process(table, cache, die_at=clips // 2)
    results["resumed"] = measure_process(table, cache, last="prepare")
    (samples,) = cache.glob("waveforms/*/waveforms.f32")
    with samples.open("r+b") as file:
        file.seek(samples.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    results["store_bytes"] = samples.stat().st_size
    results["damaged"] = measure_process(table, cache, last="prepare")
    results["floor"] = read_all(table)
    shutil.rmtree(cache)
    measure_process(half_of(table), cache, last="prepare")
    results["added"] = measure_process(table, cache, last="prepare")
    print(clips, json.dumps(results), flush=True)
    return results


def write(clips: int, folder: Path) -> Path:
    """Write a corpus of noise with different clips and return its table."""
    generator = np.random.default_rng(0)
    rows = []
    for i in range(clips):
        name = f"{i // CLIPS_IN_A_FOLDER:03d}/{i:06d}.wav"
        if i % CLIPS_IN_A_FOLDER == 0:
            (folder / name).parent.mkdir(parents=True)
        samples = generator.integers(-8000, 8000, round(RATE * SECONDS), dtype=np.int16)
        (folder / name).write_bytes(_header(samples.nbytes) + samples.tobytes())
        rows.append((name, LABELS[i % len(LABELS)], f"s{i // CLIPS_OF_A_SPEAKER:04d}"))
    with (folder / "clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "speaker"), *rows])
    return folder / "clips.csv"


def read_all(table: Path) -> dict[str, float]:
    with table.open(newline="") as file:
        paths = [str(table.parent / row["path"]) for row in csv.DictReader(file)]
    clock = time.perf_counter()
    processor = time.process_time()
    for path in paths:
        soundfile.read(path, dtype="float32")
    return {
        "seconds": time.perf_counter() - clock,
        "processor_seconds": time.process_time() - processor,
    }


def half_of(table: Path) -> Path:
    """Write a table of the first half of the clips and return its path."""
    rows = table.read_text().splitlines(keepends=True)
    half = table.with_name("half.csv")
    half.write_text("".join(rows[: (len(rows) + 1) // 2]))
    return half


def _header(size: int) -> bytes:
    """Return the header of a mono WAV file with `size` bytes of 16-bit samples."""
    chunks = struct.pack(
        "<4sI4s4sIHHIIHH", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16
    )
    return chunks + struct.pack("<4sI", b"data", size)


def measure_process(
    table: Path, cache: Path, die_at: int = 0, last: str = "audit"
) -> dict[str, Any]:
    """Run `start` in a separate process and return its figures; empty if `die_at` is set and it was
    killed there.
    """
    command = [sys.executable, __file__, "--start", str(table), str(cache), str(die_at), last]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != (-signal.SIGKILL if die_at else 0):
        raise SystemExit(f"{' '.join(command)}: ended with {done.returncode}")
    return {} if die_at else json.loads(done.stdout)


def start(table: Path, cache: Path, die_at: int, last: str) -> None:
    """Print time and memory of each step of a run before its training, up to `last`, as JSON."""
    from ser_hf.audio import build_store, prepare
    from ser_hf.audio.near_duplicates import near_duplicates
    from ser_hf.corpora import load_corpus
    from ser_hf.protocols import audit, split_corpus

    measured: dict[str, Any] = {"imported": {"peak_mb": peak()}}
    decoded = count_decoded(build_store, die_at)

    def step(name: str, work: Callable[[], Any]) -> Any:
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        clock = time.perf_counter()
        processor = time.process_time()
        result = work()
        measured[name] = {
            "seconds": time.perf_counter() - clock,
            "processor_seconds": time.process_time() - processor,
            "peak_mb": peak(),
        }
        return result

    dataset = step("load", lambda: load_corpus("csv", table))
    (split,) = step(
        "split", lambda: split_corpus(dataset, "speaker_independent", validation=0.1, test=0.2)
    )
    dataset, waveforms = step("prepare", lambda: prepare(dataset, RATE, cache))
    measured["decoded"] = len(decoded)
    if last == "audit":
        twins = step("near duplicates", lambda: near_duplicates(waveforms))
        step("audit", lambda: audit(split, dataset, twins))
    print(json.dumps(measured))


def count_decoded(store: Any, die_at: int) -> list[None]:
    """Return a list that grows with every clip that is decoded; kill the process when clip `die_at`
    is written.
    """
    decoded = []
    decode = store.decode
    written = []
    append = store.append

    def counted(*arguments: Any) -> Any:
        decoded.append(None)
        return decode(*arguments)

    def deadly(*arguments: Any) -> None:
        append(*arguments)
        written.append(None)
        if len(written) == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    store.decode = counted
    store.append = deadly
    return decoded


def peak() -> float:
    """Return the peak of the resident memory in megabytes since the last reset."""
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 1000


def table_of(sizes: dict[str, Any]) -> str:
    """Format processor seconds by size, and the memory that rows, preparing and opening add, as
    Markdown.
    """
    lines = [
        "| clips | " + " | ".join(f"{int(clips):,}" for clips in sizes) + " |",
        "|---" * (len(sizes) + 1) + "|",
    ]

    def line(name: str, cell: Callable[[dict], str]) -> None:
        lines.append(f"| {name} | " + " | ".join(cell(result) for result in sizes.values()) + " |")

    def processor(steps: dict[str, Any], *names: str) -> float:
        return sum(steps[name]["processor_seconds"] for name in names)

    everything = ("load", "split", "prepare", "near duplicates", "audit")

    def store_size(result: dict) -> str:
        return f"{result['store_bytes'] / 1e6:,.0f} MB"

    def reading(result: dict) -> str:
        return f"{result['floor']['processor_seconds']:.1f} s"

    def prepared(run: str, decimals: int = 1) -> Callable[[dict], str]:
        return lambda result: f"{processor(result[run], 'prepare'):.{decimals}f} s"

    def all_steps(run: str) -> Callable[[dict], str]:
        return lambda result: f"{processor(result[run], *everything):.1f} s"

    def growth(run: str, before: str, step: str) -> Callable[[dict], str]:
        return lambda result: f"{_growth(result[run], before, step):,.0f} MB"

    def decoded(run: str) -> Callable[[dict], str]:
        return lambda result: f"{result[run]['decoded']:,}"

    line("waveforms", store_size)
    line("reading alone", reading)
    line("first run: preparing", prepared("first"))
    line("... all before training", all_steps("first"))
    line("second run: opening", prepared("second", decimals=2))
    line("... all before training", all_steps("second"))
    line("memory of the rows", growth("first", "imported", "load"))
    line("memory of preparing", growth("first", "split", "prepare"))
    line("memory of opening", growth("second", "split", "prepare"))
    line("killed halfway: decoded again", decoded("resumed"))
    line("one bit flipped: decoded again", decoded("damaged"))
    line("half of it prepared: decoded", decoded("added"))
    line("... processor time", prepared("added"))
    return "\n".join(lines)


def _growth(steps: dict[str, Any], before: str, step: str) -> float:
    """Return by how many megabytes the peak of a step exceeds that of the step before."""
    return steps[step]["peak_mb"] - steps[before]["peak_mb"]


if __name__ == "__main__":
    main()
