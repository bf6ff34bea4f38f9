"""The columns by which a report groups clips; and that a new group or metric is one entry."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ser_hf.evaluation.groups import SLICES, Slicing, grouped_columns

ROOT = Path(__file__).parents[2]

NEW_GROUP = """SLICES = {
    "take": Slicing("take"),
"""
NEW_METRIC = """METRICS = {
    "error_rate": Metric(
        "error rate",
        "the share of all clips that is not recognized",
        lambda own: 1 - own.correct / own.clips,
        higher_is_better=False,
    ),
"""
# Evaluates made-up predictions for clips with two takes, and writes the report.
SCRIPT = """
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from datasets import ClassLabel, Dataset

from ser_hf.evaluation.predictions import of_rows, to_table
from ser_hf.evaluation.summary import evaluate_predictions
from ser_hf.report.report import Report, read_report
from ser_hf.report.write import write_report

folder = Path(sys.argv[1])
clips = range(40)
rows = Dataset.from_dict(
    {
        "id": [f"toy/{i}" for i in clips],
        "speaker": [f"toy:{i // 10}" for i in clips],
        "corpus": ["toy" for _ in clips],
        "label": [i % 2 for i in clips],
        "take": [1 + i // 2 % 2 for i in clips],
    }
).cast_column("label", ClassLabel(names=["angry", "sad"]))
recognized = np.arange(40) % 7 > 0
predicted = np.where(recognized, np.arange(40) % 2, 1 - np.arange(40) % 2)
predictions = of_rows(rows, clips, np.eye(2, dtype=np.float32)[predicted])
results = evaluate_predictions(predictions, bootstrap=20)
pq.write_table(to_table("test", predictions), folder / "predictions.parquet")
report = Report(
    name="toy",
    judged_on="test",
    labels=["angry", "sad"],
    protocol={"name": "toy"},
    audit={"shared": {}},
    **results.filled(),
)
write_report(folder, report)

report = read_report(folder / "report.json")
assert abs(report.metrics["error_rate"] + report.metrics["wa"] - 1) < 1e-9
assert "error_rate" in report.intervals
assert "recognized" in report.definitions["error_rate"]
assert list(report.slices["take"]) == ["1", "2"]
assert report.slices["take"]["1"].clips == 20
assert pq.read_table(folder / "predictions.parquet")["take"].to_pylist()[:4] == ["1", "1", "2", "2"]
page = (folder / "index.html").read_text()
assert ">error rate<" in page
assert ">Take<" in page
"""


def insert(path: Path, first_line: str, entry: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(first_line) == 1
    path.write_text(text.replace(first_line, entry), encoding="utf-8")


@pytest.mark.slow
def test_a_new_group_and_a_new_metric_are_one_entry_each(tmp_path):
    """A copy of the package with both entries shows them in report, page and predictions."""
    package = tmp_path / "ser_hf"
    shutil.copytree(ROOT / "ser_hf", package, ignore=shutil.ignore_patterns("__pycache__"))
    insert(package / "evaluation" / "groups.py", "SLICES = {\n", NEW_GROUP)
    insert(package / "evaluation" / "metrics.py", "METRICS = {\n", NEW_METRIC)
    output = tmp_path / "report"
    output.mkdir()
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", SCRIPT, str(output)]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr


def test_predictions_keep_the_columns_of_all_groups():
    assert set(grouped_columns()) == {slicing.column for slicing in SLICES.values()}
    assert {name for name, numbers in grouped_columns().items() if numbers} == {"age", "duration"}


@pytest.mark.parametrize(
    ("value", "group"),
    [(0, "under 1 s"), (1, "1 to 2 s"), (2.5, "2 s and more"), (None, None), ("long", None)],
)
def test_a_bound_begins_a_group(value, group):
    assert Slicing("duration", (1, 2), "s").group(value) == group


def test_groups_are_numbers_by_size_and_then_words():
    assert Slicing("take").in_order({"10", "9", "b", "a"}) == ["9", "10", "a", "b"]
