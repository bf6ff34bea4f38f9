"""Finished runs with made-up predictions, to compare."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ser_hf import compare_runs
from ser_hf.evaluation.metrics import classification_metrics

LABELS = ["sad", "angry", "happy"]
SPEAKERS = 12
CLIPS = 120


def predict(draw, right, labels=LABELS, clips=CLIPS, part="test", **constants):
    """A run's table of predictions in random order, and its metrics.

    Args:
        draw: seed of the random numbers.
        right: share of clips with a correct prediction; the others are drawn at random.
        constants: further columns with one value each, such as `seed`.
    """
    generator = np.random.default_rng(draw)
    true = np.arange(clips) % 3
    predicted = np.where(generator.random(clips) < right, true, generator.integers(3, size=clips))
    order = generator.permutation(clips)
    # The emotion of a clip does not depend on the order of the classes.
    true_names = [sorted(labels)[i] for i in true]
    predicted_names = [sorted(labels)[i] for i in predicted]
    columns = {
        "id": [f"toy/{i:03d}" for i in order],
        "part": [part] * clips,
        "speaker": [f"toy:{i % SPEAKERS:02d}" for i in order],
        "label": [true_names[i] for i in order],
        "predicted": [predicted_names[i] for i in order],
    }
    for name in labels:
        columns[f"p_{name}"] = [float(predicted_names[i] == name) for i in order]
    for name, value in constants.items():
        columns[name] = [value] * clips
    return pa.table(columns), classification_metrics(true, predicted, 3)


def report(name, metrics, labels=LABELS, sha256="a" * 64, **changes):
    """The values of a report with these metrics."""
    parts = {"test": {"clips": CLIPS, "speakers": [f"toy:{i:02d}" for i in range(SPEAKERS)]}}
    values = {
        "name": name,
        "judged_on": "test",
        "labels": labels,
        "confidence": 0.95,
        "protocol": {"name": "speaker_independent", "sha256": sha256, "leak": None, "parts": parts},
        "audit": {"shared": {"train/test": {"speakers": 0}}},
        "metrics": metrics,
        "parts": {"validation": metrics},
        "confusion": np.zeros((3, 3), int).tolist(),
        "intervals": {key: [value - 0.05, value + 0.04] for key, value in metrics.items()},
        "model": {"parameters": 190_000, "learning": 648},
        "seconds": {"training": 7260.0, "per_epoch": None},
    }
    return values | changes


def write(folder, values, table=None):
    """Write a finished run to a folder; returns the folder."""
    (folder / "report").mkdir(parents=True)
    (folder / "report" / "report.json").write_text(json.dumps(values), encoding="utf-8")
    if table is not None:
        pq.write_table(table, folder / "report" / "predictions.parquet")
    return folder


def finished_run(folder, seed, right, **changes):
    """Write a run that is right for this share of its clips; returns its folder."""
    labels = changes.get("labels", LABELS)
    table, metrics = predict(seed, right, labels)
    return write(folder, report(folder.name, metrics, **changes), table)


def better_and_worse(folder):
    """Write two runs, the second with another order of classes; returns their folders."""
    better = finished_run(folder / "good", 0, 0.9)
    worse = finished_run(folder / "poor", 1, 0.4, labels=sorted(LABELS))
    return [better, worse]


def compare(*sources, **options):
    """Compare runs with few resamples."""
    return compare_runs(sources, resamples=300, **options)
