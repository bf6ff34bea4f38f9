"""Measure long recordings: emotions over time, training from segments, time and memory.

    OMP_NUM_THREADS=1 python benchmarks/long_recordings.py [NAME ...] --corpus-root data
    python benchmarks/long_recordings.py --readme

The folder of `--corpus-root` has RAVDESS and EMO-DB. Four measurements:

- `conversations`: a small network is trained on six emotions of both corpora. Every clip of the
  test speakers is then a turn in one of twelve recordings of several speakers, with pauses and
  faint noise. A turn is the part of a clip that is above -40 dB of its loudest 25 ms. Speech that
  Silero's detector finds is compared with the turns, and the model is evaluated over time with the
  turns of the truth, with speech that is found, and with windows.
- `training`: the network is trained from a table of segments of joined recordings, and from files
  that are cut at the same times, with the same seed. Metrics and probabilities are compared.
- `turns`: `ser-hf predict --segments FILE` for 2,000 turns in three hours, against decoding and the
  network alone.
- `ten_hours`: `ser-hf predict` for ten hours, with windows, turns, speech that is found and a
  picture: time and the largest memory, against those of one hour.

Results are saved to benchmarks/results/long_recordings.json after each measurement; the same
command leaves out those that are there, and continues an interrupted training.
"""

import argparse
import csv
import dataclasses
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import soundfile
from fixed_split import read, write

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "long_recordings.json"
RATE = 16000
EMOTIONS = ["angry", "disgust", "fear", "happy", "neutral", "sad"]
CORPUS = {"labels": EMOTIONS, "drop": ["calm", "surprise", "boredom"]}
NETWORK = {
    "architecture": "crnn",
    "hop_length": 320,
    "channels": [16, 32, 64],
    "time_pooling": [2, 2, 2],
    "band_pooling": [4, 2, 2],
    "lstm_hidden": 64,
    "pooling": "mean_std",
}
SILENCE = 40.0  # dB below the loudest frame of a clip
FRAME = 400  # samples
NOISE = 10 ** (-70 / 20)  # deviation of the noise in recordings
RECORDINGS = 12


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=list(MEASUREMENTS), metavar="NAME")
    parser.add_argument("--corpus-root", type=Path, default=Path("data"))
    parser.add_argument("--runs", type=Path, default=Path("runs/long_recordings"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--epochs", type=float, default=30, help="of the training")
    parser.add_argument("--hours", type=float, default=10, help="of the longest recording")
    parser.add_argument(
        "--detect", action="store_true", help="find speech too, which takes longest"
    )
    parser.add_argument("--model", help="for turns and ten_hours [default: that of conversations]")
    parser.add_argument("--readme", action="store_true", help="only print the tables")
    options = parser.parse_args()
    unknown = set(options.names) - set(MEASUREMENTS)
    if unknown:
        parser.error(f"no measurement {', '.join(unknown)}; there are {', '.join(MEASUREMENTS)}")

    for name in [] if options.readme else options.names:
        if name in read(options.results):
            continue
        with tempfile.TemporaryDirectory(prefix="ser-hf-") as folder:
            row = MEASUREMENTS[name](options, Path(folder))
        write(options.results, read(options.results) | {name: row})
        print(f"{name}: done", flush=True)
    print(tables(read(options.results)))


def model_recipe(options: argparse.Namespace) -> dict[str, Any]:
    """The recipe of the network that predicts the conversations."""
    corpora = [
        {"name": "ravdess", "root": str(options.corpus_root / "RAVDESS")},
        {"name": "emodb", "root": str(options.corpus_root / "EMO-DB")},
    ]
    return {
        "name": "conversations",
        "output_dir": str(options.runs / "conversations"),
        "corpus": {"name": "mixture", "corpora": corpora} | CORPUS,
        "protocol": {"name": "speaker_independent", "validation": 0.15, "test": 0.2},
        "audio": {"trim_silence": SILENCE, "max_duration": 3.0},
        "model": NETWORK,
        "augment": {"gaussian_noise": {"probability": 0.3}},
        "training": {
            "balance": "corpus_and_class",
            "learning_rate": 2e-3,
            "lr_scheduler_type": "one_cycle",
            "num_train_epochs": options.epochs,
            "per_device_train_batch_size": 32,
            "loss": {"label_smoothing": 0.1},
        },
        "evaluation": {"map": None},
    }


# Conversations --------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class SpokenTurn:
    """A clip that is a turn of a conversation; times in seconds."""

    recording: str
    start: float
    end: float
    speaker: str
    label: str


def speech_of_clip(path: Path) -> np.ndarray:
    """The samples of a clip without the silence before and after its speech."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    assert rate == RATE
    mono = samples.mean(axis=1)
    mono = mono[: len(mono) // FRAME * FRAME]
    powers = np.square(mono.reshape(-1, FRAME)).mean(axis=1)
    loud = np.flatnonzero(powers > powers.max() * 10 ** (-SILENCE / 10))
    return mono[loud[0] * FRAME : (loud[-1] + 1) * FRAME]


def make_conversations(folder: Path, clips: Sequence[dict[str, Any]]) -> list[SpokenTurn]:
    """Join clips to recordings of several speakers, with pauses of 0.3 to 2 s and faint noise.

    Args:
        clips: path, label and speaker of each clip; each is used once.
    """
    generator = random.Random(0)
    noise = np.random.default_rng(0)
    shuffled = generator.sample(list(clips), len(clips))
    turns = []
    for number in range(RECORDINGS):
        path = folder / f"{number + 1:02d}.flac"
        pieces = []
        position = 0
        for clip in shuffled[number::RECORDINGS]:
            pause = round(generator.uniform(0.3, 2.0) * RATE)
            samples = speech_of_clip(Path(clip["path"]))
            start = position + pause
            position = start + len(samples)
            pieces += [np.zeros(pause, np.float32), samples]
            turns.append(
                SpokenTurn(
                    recording=path.name,
                    start=start / RATE,
                    end=position / RATE,
                    speaker=clip["speaker"],
                    label=clip["label"],
                )
            )
        pieces.append(np.zeros(RATE, np.float32))
        recording = np.concatenate(pieces)
        recording += NOISE * noise.standard_normal(len(recording)).astype(np.float32)
        soundfile.write(path, recording, RATE)
    return turns


def write_turns_table(path: Path, turns: Iterable[SpokenTurn]) -> None:
    """Write turns as a table that `--segments` and `--reference` read."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "start", "end", "speaker", "label"])
        for turn in turns:
            writer.writerow([turn.recording, turn.start, turn.end, turn.speaker, turn.label])


def measure_conversations(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train the network, join the clips of the test speakers, and evaluate over time."""
    import ser_hf
    from ser_hf.audio.speech import find_speech
    from ser_hf.experiment.over_time import REFERENCE, evaluate_over_time
    from ser_hf.inference.load import load_classifier
    from ser_hf.inference.predict import PredictionSettings
    from ser_hf.inference.recordings import from_paths

    recipe = model_recipe(options)
    report = ser_hf.run_recipe(recipe, resume=True)
    run = Path(recipe["output_dir"])
    clips = pq.read_table(run / "report" / "predictions.parquet").to_pylist()
    test_clips = [clip for clip in clips if clip["part"] == "test"]
    turns = make_conversations(folder, test_clips)
    table = folder / "turns.csv"
    write_turns_table(table, turns)
    recordings = from_paths(sorted(str(path) for path in folder.glob("*.flac")))

    segments_of_recording = {}
    for recording in recordings:
        segments_of_recording[Path(recording.path).name] = find_speech(recording.path)
    results: dict[str, Any] = {
        "clips": {
            "uar": report.metrics["uar"],
            "wa": report.metrics["wa"],
            "test_clips": len(test_clips),
            "test_speakers": len({clip["speaker"] for clip in test_clips}),
        },
        "detected": speech_by_time(turns, segments_of_recording),
        "over_time": {},
    }
    classifier = load_classifier(str(run))
    for segments in (REFERENCE, "speech", "windows"):
        result = evaluate_over_time(
            classifier,
            recordings,
            table,
            PredictionSettings(segments=segments),
            options.runs / f"over_time_{segments}",
        )
        values = result.to_dict()
        del values["recordings"]
        results["over_time"][segments] = values
    return results


def speech_by_time(
    turns: Sequence[SpokenTurn], segments_of_recording: dict[str, list[Any]]
) -> dict[str, float]:
    """Precision and recall of segments by time, in frames of 5 ms."""
    rate = 200
    found_and_true = found = true = 0
    for recording, segments in segments_of_recording.items():
        of_recording = [turn for turn in turns if turn.recording == recording]
        frames = np.zeros((2, round(rate * (max(turn.end for turn in of_recording) + 2))), bool)
        for row, spans in enumerate((of_recording, segments)):
            for span in spans:
                frames[row, round(rate * span.start) : round(rate * span.end)] = True
        true += int(frames[0].sum())
        found += int(frames[1].sum())
        found_and_true += int(frames.all(axis=0).sum())
    return {
        "turns": len(turns),
        "segments": sum(len(segments) for segments in segments_of_recording.values()),
        "precision": round(found_and_true / found, 4),
        "recall": round(found_and_true / true, 4),
    }


# Training from segments -----------------------------------------------------------------------


def measure_training(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train from a table of segments and from cut files; compare metrics and probabilities."""
    import ser_hf

    write_cut_and_joined(folder, options.corpus_root / "RAVDESS")
    reports = {}
    tables = {}
    for name in ("segments", "cut"):
        recipe = {
            "name": name,
            "output_dir": str(folder / f"run_{name}"),
            "corpus": {"name": "csv", "root": str(folder / f"{name}.csv")},
            "protocol": {
                "name": "speaker_independent",
                "train": ["01", "02"],
                "validation": ["03"],
                "test": ["04"],
            },
            "model": NETWORK,
            "training": {"num_train_epochs": 2, "per_device_train_batch_size": 8, "seeds": [1]},
            "evaluation": {"map": None},
        }
        reports[name] = ser_hf.run_recipe(recipe)
        tables[name] = pq.read_table(folder / f"run_{name}" / "report" / "predictions.parquet")

    differences = {}
    for metric, value in reports["segments"].metrics.items():
        differences[metric] = abs(value - reports["cut"].metrics[metric])
    columns = [name for name in tables["cut"].column_names if name.startswith("p_")]
    probabilities = [
        np.column_stack([table[name].to_numpy() for name in columns]) for table in tables.values()
    ]
    return {
        "clips": len(tables["cut"]),
        "validation": {
            name: [entry["validation"]["uar"] for entry in report.history if "validation" in entry]
            for name, report in reports.items()
        },
        "largest_difference_of_metrics": max(differences.values()),
        "largest_difference_of_probabilities": float(np.abs(np.subtract(*probabilities)).max()),
    }


def write_cut_and_joined(folder: Path, corpus: Path, speakers: int = 4, clips: int = 16) -> None:
    """Write a recording of each speaker with segments.csv, and its clips as files with cut.csv.

    The emotions are those of RAVDESS's first clips: neutral, calm, happy and sad.
    """
    emotions = {"01": "neutral", "02": "calm", "03": "happy", "04": "sad"}
    generator = random.Random(0)
    rows: dict[str, list[list[Any]]] = {"segments": [], "cut": []}
    for number in range(1, speakers + 1):
        speaker = f"{number:02d}"
        paths = []
        for code in emotions:
            paths += sorted((corpus / f"Actor_{speaker}").glob(f"03-01-{code}-*.flac"))[
                : clips // len(emotions)
            ]
        position = 0
        recording = []
        for path in paths:
            samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
            mono = samples.mean(axis=1)
            pause = round(generator.uniform(0.2, 1.0) * rate)
            start = position + pause
            position = start + len(mono)
            recording += [np.zeros(pause, np.float32), mono]
            label = emotions[path.name.split("-")[2]]
            name = f"{speaker}_{start:08d}.wav"
            soundfile.write(folder / name, mono, rate, subtype="FLOAT")
            rows["segments"].append(
                [f"{speaker}.wav", start / rate, position / rate, label, speaker]
            )
            rows["cut"].append([name, "", "", label, speaker])
        soundfile.write(folder / f"{speaker}.wav", np.concatenate(recording), rate, subtype="FLOAT")
    for name, cells in rows.items():
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([["path", "start", "end", "label", "speaker"], *cells])


# Time and memory ------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a process used: seconds by the clock and of the processor, and its largest memory."""

    seconds: float
    processor_seconds: float
    peak_memory_mib: int
    result: float = 0.0


def cost_of(work: Callable[[], float | None]) -> Cost:
    """Run a function in a child process that has imported everything, and measure it."""
    reader, writer = os.pipe()
    started = time.perf_counter()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            result = work() or 0.0
            os.write(writer, str(result).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    _, status, used = os.wait4(child, 0)
    seconds = time.perf_counter() - started
    text = os.read(reader, 100).decode()
    os.close(reader)
    if status != 0:
        raise RuntimeError("a measured process failed; its message is above")
    return Cost(
        seconds=round(seconds, 2),
        processor_seconds=round(used.ru_utime + used.ru_stime, 2),
        peak_memory_mib=round(used.ru_maxrss / 1024),
        result=float(text),
    )


def predict_command(*arguments: str) -> Callable[[], None]:
    """`ser-hf predict` as a function."""

    def run() -> None:
        from ser_hf import cli

        if cli.main(["predict", *arguments]) != 0:
            raise RuntimeError("predict failed")

    return run


def import_all() -> None:
    """Import what the measured processes need, so that none of them counts it."""
    import ser_hf.cli.predict
    import ser_hf.inference.load
    import ser_hf.inference.predict
    import ser_hf.inference.writers
    import ser_hf.report.timeline_plot  # noqa: F401


def write_long(path: Path, hours: float, clips: Sequence[Path], count: int) -> None:
    """Write a recording with `count` turns at equal distances, and its turns beside it as RTTM."""
    generator = np.random.default_rng(0)
    spacing = round(hours * 3600 * RATE / count)
    speech = []
    for clip in clips[:50]:
        samples, _ = soundfile.read(clip, dtype="float32", always_2d=True)
        speech.append(samples.mean(axis=1)[: spacing - RATE // 4])
    lines = []
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        for number in range(count):
            samples = speech[number % len(speech)]
            interval = NOISE * generator.standard_normal(spacing).astype(np.float32)
            interval[: len(samples)] += samples
            file.write(interval)
            start = number * spacing / RATE
            speaker = ("anna", "ben")[number % 2]
            lines.append(
                f"SPEAKER {path.stem} 1 {start:.3f} {len(samples) / RATE:.3f} <NA> <NA> {speaker} "
                "<NA> <NA>\n"
            )
    path.with_suffix(".rttm").write_text("".join(lines), encoding="utf-8")


def network_alone(model: str, recording: Path, segments: Sequence[Any]) -> Callable[[], float]:
    """A function that decodes segments and runs the network on them, and nothing else.

    It returns the seconds of the processor that loading the model takes.
    """

    def run() -> float:
        import torch

        from ser_hf.inference.load import load_classifier

        classifier = load_classifier(model, device="cpu")
        loaded = time.process_time()
        waveforms = []
        with soundfile.SoundFile(recording) as file:
            for segment in segments:
                file.seek(round(segment.start * RATE))
                waveforms.append(
                    file.read(round((segment.end - segment.start) * RATE), dtype="float32")
                )
        waveforms.sort(key=len)
        with torch.inference_mode():
            for first in range(0, len(waveforms), 16):
                inputs = classifier.extractor(
                    waveforms[first : first + 16],
                    sampling_rate=RATE,
                    padding=True,
                    return_tensors="pt",
                )
                classifier.model(**inputs)
        return loaded

    return run


def measure_turns(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Predict 2,000 turns of three hours, against decoding and the network alone."""
    import_all()
    from ser_hf.utils.annotations import read_turns

    recording = folder / "call.flac"
    write_long(recording, 3.0, test_files(options), 2000)
    turns = recording.with_suffix(".rttm")
    segments = [turn.segment for turn in read_turns(turns)]
    model = str(options.model or options.runs / "conversations")
    command = cost_of(
        predict_command(
            model,
            str(recording),
            "--segments",
            str(turns),
            "--output",
            str(folder / "call.csv"),
        )
    )
    alone = cost_of(network_alone(model, recording, segments))
    working = command.processor_seconds - alone.result
    return {
        "hours": 3.0,
        "segments": len(segments),
        "seconds_of_segments": round(sum(segment.end - segment.start for segment in segments), 1),
        "command": dataclasses.asdict(command),
        "alone": dataclasses.asdict(alone),
        "share_of_decoding_and_network": round(
            (alone.processor_seconds - alone.result) / working, 3
        ),
    }


def test_files(options: argparse.Namespace) -> list[Path]:
    """Clips to make long recordings of."""
    return sorted((options.corpus_root / "EMO-DB" / "wav").glob("*.flac"))


def measure_hours(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Predict one hour and ten hours in all ways, for time and memory."""
    import_all()
    model = str(options.model or options.runs / "conversations")
    results: dict[str, Any] = {"hours": options.hours}
    for hours in (options.hours / 10, options.hours):
        recording = folder / f"{hours:g}.flac"
        write_long(recording, hours, test_files(options), round(360 * hours))
        ways = {
            "windows": ["--segments", "windows", "--hop", "4"],
            "turns": ["--segments", str(recording.with_suffix(".rttm"))],
            "turns and picture": [
                *("--segments", str(recording.with_suffix(".rttm"))),
                *("--picture", str(folder / "call.png")),
            ],
        }
        if options.detect:
            ways["speech"] = ["--segments", "speech"]
        for way, arguments in ways.items():
            output = str(folder / "call.csv")
            cost = cost_of(predict_command(model, str(recording), "--output", output, *arguments))
            results.setdefault(way, {})[f"{hours:g} h"] = dataclasses.asdict(cost)
            print(f"{way}, {hours:g} h: {cost}", flush=True)
        recording.unlink()
    return results


MEASUREMENTS = {
    "conversations": measure_conversations,
    "training": measure_training,
    "turns": measure_turns,
    "ten_hours": measure_hours,
}


def tables(results: dict[str, Any]) -> str:
    """The results as Markdown tables."""
    writers = {
        "conversations": conversations_table,
        "training": training_table,
        "turns": turns_table,
        "ten_hours": hours_table,
    }
    return "\n\n".join(
        write_table(results[name]) for name, write_table in writers.items() if name in results
    )


def conversations_table(row: dict[str, Any]) -> str:
    detected = row["detected"]
    lines = [
        f"Speech that is found, against {detected['turns']} turns: precision "
        f"{detected['precision']:.3f} and recall {detected['recall']:.3f} by time, "
        f"{detected['segments']} segments. The model has UAR {row['clips']['uar']:.3f} and WA "
        f"{row['clips']['wa']:.3f} on the clips of the test speakers.",
        "",
        "| segments | EDER (95 % interval over recordings) | accuracy by time (interval) | false "
        "alarm, missed, confusion, s |",
        "|---|---|---|---|",
    ]
    names = {"reference": "turns of the truth", "speech": "speech that is found"}
    for segments, values in row["over_time"].items():
        rates = []
        for rate in ("eder", "accuracy"):
            low, high = values[f"{rate}_interval"]
            rates.append(f"{values[rate]:.3f} ({low:.3f} to {high:.3f})")
        seconds = values["seconds"]
        kinds = [f"{seconds[kind]:.0f}" for kind in ("false_alarm", "missed", "confusion")]
        name = names.get(segments, segments)
        lines.append(f"| {name} | {rates[0]} | {rates[1]} | {', '.join(kinds)} |")
    return "\n".join(lines)


def training_table(row: dict[str, Any]) -> str:
    return (
        f"Training from segments against training from cut files, {row['clips']} predicted clips: "
        f"largest difference of metrics {row['largest_difference_of_metrics']:.1g}, of "
        f"probabilities {row['largest_difference_of_probabilities']:.1g}."
    )


def turns_table(row: dict[str, Any]) -> str:
    lines = [
        "| 2,000 turns in three hours | processor, s | by the clock, s | memory, MiB |",
        "|---|---|---|---|",
    ]
    for name in ("command", "alone"):
        cost = row[name]
        title = {"command": "`ser-hf predict --segments FILE`", "alone": "decoding and network"}
        lines.append(
            f"| {title[name]} | {cost['processor_seconds']:.1f} | {cost['seconds']:.0f} | "
            f"{cost['peak_memory_mib']:,} |"
        )
    return "\n".join(lines)


def hours_table(row: dict[str, Any]) -> str:
    lines = ["| way | length | processor, s | memory, MiB |", "|---|---|---|---|"]
    for way, costs in row.items():
        if way == "hours":
            continue
        for length, cost in costs.items():
            lines.append(
                f"| {way} | {length} | {cost['processor_seconds']:.1f} | "
                f"{cost['peak_memory_mib']:,} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
