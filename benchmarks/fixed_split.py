"""What the benchmarks on RAVDESS's fixed split share: the recipe that they vary, and results that survive a kill.

Actors 1-16 are learnt from, 17-20 choose, 21-24 are the test speakers. `recipe` never judges them.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

SPLIT = {"name": "speaker_independent", "train": ["1-16"], "validation": ["17-20"], "test": ["21-24"]}
CROP = 3.0  # seconds
# Of RAVDESS's clips, 3.7 s on average, 1.6 s are silence, which would cost near half of the time.
TRIMMED = {"trim_silence": 40, "max_duration": 2.2}


def recipe(
    root: str, folder: Path, model: dict[str, Any], training: dict[str, Any], **sections: Any
) -> dict[str, Any]:
    """A run that the validation speakers judge, in `folder`; `sections` replace others of the recipe."""
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
    """The report of a run: read where it is complete, gone on with where it was cut off.

    Raises:
        UserError: if its folder holds another recipe's run, as after a change of the defaults.
    """
    import ser_hf

    return ser_hf.run_recipe(values, resume=True).to_dict()


def summary(report: dict[str, Any]) -> dict[str, Any]:
    """What tables and later readers need of a report, without its long history."""
    keys = ("metrics", "intervals", "clip_intervals", "per_class", "model", "seconds", "environment", "judged_on")
    kept = {key: report[key] for key in keys} | {"split": report["protocol"]["sha256"]}
    if report["history"]:
        kept["validation_uar"] = [e["validation"]["uar"] for e in report["history"] if "validation" in e]
    return kept


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write(path: Path, results: dict[str, Any]) -> None:
    """As a whole or not at all, so that a kill leaves what stood."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def standard_error(per_class: dict[str, dict[str, float]]) -> float:
    """Of a UAR, were the clips drawn independently: each class's recall is a share of its clips."""
    recalls = np.array([row["recall"] for row in per_class.values()])
    clips = np.array([row["support"] for row in per_class.values()])
    return float(np.sqrt((recalls * (1 - recalls) / clips).sum()) / len(recalls))
