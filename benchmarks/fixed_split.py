"""Helpers of the benchmarks on RAVDESS's fixed split: the common recipe, and result files that are
written atomically.

Actors 1-16 are training, 17-20 validation and 21-24 test speakers. `recipe` evaluates the
validation speakers only.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

SPLIT = {
    "name": "speaker_independent",
    "train": ["1-16"],
    "validation": ["17-20"],
    "test": ["21-24"],
}
CROP = 3.0  # seconds
# RAVDESS's clips have 3.7 s on average, 1.6 s of them silence: without trimming, runs take almost
# twice as long.
TRIMMED = {"trim_silence": 40, "max_duration": 2.2}


def recipe(
    root: str, folder: Path, model: dict[str, Any], training: dict[str, Any], **sections: Any
) -> dict[str, Any]:
    """Return a recipe of a run in `folder`, evaluated on the validation speakers; `sections`
    replace its sections.
    """
    return {
        "name": folder.name,
        "output_dir": str(folder),
        "corpus": {"name": "ravdess", "root": root},
        "protocol": SPLIT,
        "audio": TRIMMED,
        "model": model,
        "training": training,
        "evaluation": {"part": "validation"},
    } | sections


def run(values: dict[str, Any]) -> dict[str, Any]:
    """Start, resume or read a run, and return its report.

    Raises:
        UserError: if its folder holds a run of another recipe, for example after a change of the
            defaults.
    """
    import ser_hf

    return ser_hf.run_recipe(values, resume=True).to_dict()


def summary(report: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a report that the tables need, without its long history."""
    keys = (
        "metrics",
        "intervals",
        "clip_intervals",
        "per_class",
        "model",
        "seconds",
        "environment",
        "judged_on",
    )
    row = {key: report[key] for key in keys} | {"split": report["protocol"]["sha256"]}
    if report["history"]:
        row["validation_uar"] = [
            entry["validation"]["uar"] for entry in report["history"] if "validation" in entry
        ]
    return row


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write(path: Path, results: dict[str, Any]) -> None:
    """Write the results atomically, so that a kill does not damage the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def standard_error(per_class: dict[str, dict[str, float]]) -> float:
    """Return the standard error of a UAR if clips are independent: the recall of a class is a
    binomial proportion.
    """
    recalls = np.array([row["recall"] for row in per_class.values()])
    clips = np.array([row["support"] for row in per_class.values()])
    return float(np.sqrt((recalls * (1 - recalls) / clips).sum()) / len(recalls))
