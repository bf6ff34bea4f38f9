"""Measure `ser-hf predict` and `evaluate` on many files and one long recording, beside decoding and
the network alone.

    OMP_NUM_THREADS=1 python benchmarks/bulk.py --corpus-root data/RAVDESS [--files 10000] [--hours
    3] [--repeats 3]
        [--results FILE]

The files are copies of RAVDESS's clips, repeated; the recording is its clips one after the other,
16 kHz FLAC. The network is a crnn with its default options and random weights. "Decoding" reads and
resamples the recordings on all cores as predict does and drops them; "network" computes the model
on waveforms that are prepared before, in the same batches. The floor is their sum where all cores
compute the network, and less where decoding has a core of its own. The kinds of work alternate, in
processes of their own, which also report their largest memory without pages of files. `evaluate`
also reads the folder as a corpus (folders are labels; the end of a name is the speaker, one of
100), hashes the clips, and computes metrics, intervals and the report. It does not run on the long
recording, which has no label.
"""

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import soundfile
from fixed_split import write

from ser_hf.audio.decode import decode
from ser_hf.experiment.sections import environment_section
from ser_hf.models.preparation import UNPREPARED
from ser_hf.utils.environment import freed_memory_kept
from ser_hf.utils.order import in_order

RESULTS = Path(__file__).parent / "results" / "bulk.json"
RATE = 16000
LABELS = ["angry", "happy", "neutral", "sad"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus-root", type=Path, default=Path("data/RAVDESS"))
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--hours", type=float, default=3.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--results", type=Path, default=RESULTS)
    # kind, model, input: in a process of its own
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        with freed_memory_kept():  # as the command does, for the whole of each kind of work
            print(json.dumps(WORK[options.work[0]](*options.work[1:])))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_model(folder / "model")
        clips = sorted(options.corpus_root.resolve().rglob("*.flac")) or sorted(
            options.corpus_root.rglob("*.wav")
        )
        inputs = {
            f"{options.files:,} files": copy_files(clips, folder / "files", options.files),
            f"one recording of {options.hours:g} h": write_recording(
                clips, folder / "long.flac", options.hours
            ),
        }
        rows = [
            measure(what, folder / "model", path, options.repeats) for what, path in inputs.items()
        ]
    given = f"--files {options.files} --hours {options.hours:g} --repeats {options.repeats}"
    command = (
        f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', '')} python benchmarks/bulk.py {given}"
    )
    write(
        options.results,
        {"rows": rows, "command": command, "environment": environment_section().to_dict()},
    )
    for row in rows:
        print(row)


def write_model(folder: Path) -> None:
    from transformers import set_seed

    from ser_hf.loading.build import build_model
    from ser_hf.loading.plan import blueprint

    set_seed(1)
    plan = blueprint("crnn", LABELS, options={"normalization": "fixed"})
    build_model(plan).save_pretrained(folder)
    plan.published_extractor.save_pretrained(folder)


def copy_files(clips: list[Path], folder: Path, count: int) -> Path:
    """Copies, because several links to a file are one recording."""
    for label in LABELS:
        (folder / label).mkdir(parents=True)
    for number, clip in zip(range(count), itertools.cycle(clips), strict=False):
        shutil.copyfile(clip, folder / LABELS[number % len(LABELS)] / f"{number:06d}{clip.suffix}")
    return folder


def write_recording(clips: list[Path], path: Path, hours: float) -> Path:
    left = round(3600 * hours * RATE)
    with soundfile.SoundFile(path, "w", RATE, 1, format="FLAC", subtype="PCM_16") as file:
        for clip in itertools.cycle(clips):
            samples = decode(str(clip), None, RATE).samples[:left]
            file.write(samples)
            left -= len(samples)
            if left <= 0:
                break
    return path


def measure(what: str, model: Path, path: Path, repeats: int) -> dict:
    """Run the kinds of work alternately, in reversed order in every other repeat."""
    kinds = [kind for kind in WORK if kind != "evaluate" or path.is_dir()]
    runs: dict[str, list[dict]] = {kind: [] for kind in kinds}
    for repeat in range(repeats):
        for kind in kinds[:: 1 if repeat % 2 == 0 else -1]:
            command = [sys.executable, __file__, "--work", kind, str(model), str(path)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            runs[kind].append(json.loads(done.stdout.splitlines()[-1]))
            print(f"  {what}, {kind}: {runs[kind][-1]}", flush=True)
    seconds = medians(runs, "seconds")
    processor = medians(runs, "processor")
    hours = runs["predict"][0]["hours"]
    row = {"what": what, "hours": hours, "runs": runs}
    floor = seconds["decoding"] + seconds["network"]
    floor_processor = processor["decoding"] + processor["network"]
    for kind in ("predict", "evaluate"):
        if kind not in kinds:
            continue
        row[kind] = {
            "real_time_factor": seconds[kind] / (3600 * hours),
            "share_of_floor": floor / seconds[kind],
            "share_of_floor_processor": floor_processor / processor[kind],
            "largest_memory_mib": max(run["memory_mib"] for run in runs[kind]),
        }
    return row


def medians(runs: dict[str, list[dict]], figure: str) -> dict[str, float]:
    """The median of a figure over the repeats of each kind of work."""
    values = {kind: [run[figure] for run in repeats] for kind, repeats in runs.items()}
    return {kind: float(np.median(values[kind])) for kind in values}


def recordings_of(path: str) -> list:
    from ser_hf.inference.recordings import from_paths

    return from_paths([path])


def timed(work, hours: float | None = None) -> dict:
    began = time.perf_counter()
    processor = time.process_time()
    largest = [0.0]
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(0.05):
            largest[0] = max(largest[0], anonymous_mib())

    sampling = threading.Thread(target=sample)
    sampling.start()
    result = work()
    ended.set()
    sampling.join()
    return {
        "seconds": time.perf_counter() - began,
        "processor": time.process_time() - processor,
        "memory_mib": max(largest[0], anonymous_mib()),
        "hours": hours if hours is not None else result,
    }


def anonymous_mib() -> float:
    """Memory of this process without pages of files, such as those of the libraries and of the
    waveform store.
    """
    (line,) = [
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("RssAnon")
    ]
    return int(line.split()[1]) / 1024


def count_samples(recording) -> int:
    return len(decode(recording.path, None, RATE).samples)


def decoding(model: str, path: str) -> dict:
    def work() -> float:
        samples = sum(in_order(count_samples, recordings_of(path)))
        return samples / RATE / 3600

    return timed(work)


def network(model: str, path: str) -> dict:
    """Without decoding: the same chunks, made before the clock starts, one after the other."""
    from ser_hf.inference.batches import run_batches
    from ser_hf.inference.chunks import read_chunks
    from ser_hf.inference.load import load_classifier

    classifier = load_classifier(model)
    spent = {"seconds": 0.0, "processor": 0.0, "hours": 0.0, "memory_mib": 0.0}
    window = classifier.window(WINDOW)
    for chunk in read_chunks(recordings_of(path), RATE, UNPREPARED):
        one = timed(
            lambda chunk=chunk: run_batches(classifier, chunk, window, 16),
            chunk.lengths.sum() / RATE / 3600,
        )
        spent = {
            key: max(one[key], spent[key]) if "memory" in key else spent[key] + one[key]
            for key in spent
        }
    return spent


def whole(model: str, path: str) -> dict:
    from ser_hf.inference.load import load_classifier
    from ser_hf.inference.predict import PredictionSettings, predict_tables, table_metadata

    classifier = load_classifier(model)
    settings = PredictionSettings(window=WINDOW)
    metadata = table_metadata(classifier, settings)
    recordings = recordings_of(path)

    def work() -> float:
        rows = pairs = 0
        for table in predict_tables(classifier, recordings, settings, metadata, []):
            rows = rows + len(table)
            pairs = pairs + sum(table["end"].to_pylist())
        return pairs / 3600

    return timed(work)


def evaluation(model: str, path: str) -> dict:
    import ser_hf

    def work() -> float:
        settings = {"speaker_pattern": r"(\d\d)\.\w+$"}
        output = Path(path).parent / "report"
        ser_hf.evaluate_model(
            model, "audiofolder", path, settings=settings, output=output, overwrite=True
        )

    return timed(work)


WINDOW = 10.0  # seconds; longer clips are processed in windows
WORK = {"predict": whole, "evaluate": evaluation, "decoding": decoding, "network": network}

if __name__ == "__main__":
    main()
