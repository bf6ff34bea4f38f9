"""Average the probabilities of several runs over the same folds with equal weights.

    python benchmarks/ensemble.py RUN RUN... --result benchmarks/results/NAME.json

The runs are folders of `ser_hf.train` with the same clips in each split of each fold, so that no
network predicts clips that it was trained on. Nothing is fitted or trained here. The result names
the runs.
"""

import argparse
import dataclasses
import json
import statistics
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from fixed_split import write

from ser_hf.evaluation.bootstrap import fold_intervals
from ser_hf.evaluation.metrics import classification_metrics
from ser_hf.evaluation.predictions import Predictions, from_table
from ser_hf.utils.errors import UserError

PARTS = ("validation", "test")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--result", type=Path, required=True)
    options = parser.parse_args()
    try:
        reports = [
            json.loads((run / "report" / "report.json").read_text(encoding="utf-8"))
            for run in options.runs
        ]
        numbers = reports[0]["protocol"].get("folds") or {}
        if len(numbers) < 2:
            raise UserError(f"{options.runs[0]}: not a run over several folds")
        folds = {
            number: average([run / f"fold-{number}" for run in options.runs]) for number in numbers
        }
    except FileNotFoundError as error:
        sys.exit(f"error: {error.filename}: no such file; is this a finished run over folds?")
    except UserError as error:
        sys.exit(f"error: {error}")
    result = {
        "of": [
            {key: report[key] for key in ("name", "metrics", "environment")}
            | {"parameters": report["model"]["parameters"]}
            for report in reports
        ],
        "parameters": sum(report["model"]["parameters"] for report in reports),
        "folds": {
            number: {part: scores(fold[part]) for part in PARTS} for number, fold in folds.items()
        },
    }
    for part in PARTS:
        values = [fold[part] for fold in result["folds"].values()]
        result[part] = {
            key: statistics.mean(fold[key] for fold in values) for key in ("uar", "wa", "macro_f1")
        }
        result[part]["uar_deviation"] = statistics.stdev(fold["uar"] for fold in values)
        intervals = fold_intervals([fold[part] for fold in folds.values()], draw_folds=True)
        result[part]["intervals"] = {key: intervals[key] for key in ("uar", "wa", "macro_f1")}
        print(part, json.dumps(result[part]))
    write(options.result, result)


def average(folders: list[Path]) -> dict[str, Predictions]:
    """Return the clips of each split of one fold with the mean probabilities of the runs.

    Raises:
        UserError: if the runs have different clips or labels.
    """
    tables = [
        pq.read_table(folder / "report" / "predictions.parquet").sort_by("id") for folder in folders
    ]
    names = emotions(tables[0])
    for folder, table in zip(folders[1:], tables[1:], strict=True):
        same = all(table[name].equals(tables[0][name]) for name in ("id", "part", "label"))
        if not same or set(emotions(table)) != set(names):
            raise UserError(f"{folder}: clips, splits or labels differ from {folders[0]}")
    averaged = {}
    for part in PARTS:
        predictions = [from_table(table, part, names) for table in tables]
        mean = sum(run.probabilities for run in predictions) / len(predictions)
        averaged[part] = dataclasses.replace(predictions[0], probabilities=mean)
    return averaged


def emotions(table: pa.Table) -> list[str]:
    return [name.removeprefix("p_") for name in table.column_names if name.startswith("p_")]


def scores(predictions: Predictions) -> dict[str, float]:
    (predicted,) = predictions.predicted
    return classification_metrics(predictions.labels, predicted, len(predictions.names)) | {
        "clips": len(predictions)
    }


if __name__ == "__main__":
    main()
