"""Averages the probabilities of several runs over the same folds, with equal weights.

    python benchmarks/ensemble.py RUN RUN... --result benchmarks/results/NAME.json

The runs are folders of `ser_hf.train` with the same clips in each part of each fold, so that no network was trained on
the clips that it predicts. Nothing is fitted, and no run is trained here; the result names the runs.
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--result", type=Path, required=True)
    options = parser.parse_args()
    try:
        reports = [json.loads((run / "report" / "report.json").read_text(encoding="utf-8")) for run in options.runs]
        numbers = reports[0]["protocol"].get("folds") or {}
        if len(numbers) < 2:
            raise UserError(f"{options.runs[0]}: not a run over several folds")
        folds = {number: averaged([run / f"fold-{number}" for run in options.runs]) for number in numbers}
    except FileNotFoundError as error:
        sys.exit(f"error: {error.filename}: no such file; is this a finished run over folds?")
    except UserError as error:
        sys.exit(f"error: {error}")
    together = {
        "of": [
            {key: report[key] for key in ("name", "metrics", "environment")}
            | {"parameters": report["model"]["parameters"]}
            for report in reports
        ],
        "parameters": sum(report["model"]["parameters"] for report in reports),
        "folds": {number: {part: scores(own[part]) for part in PARTS} for number, own in folds.items()},
    }
    for part in PARTS:
        values = [own[part] for own in together["folds"].values()]
        together[part] = {key: statistics.mean(own[key] for own in values) for key in ("uar", "wa", "macro_f1")}
        together[part]["uar_deviation"] = statistics.stdev(own["uar"] for own in values)
        intervals = fold_intervals([own[part] for own in folds.values()], draw_folds=True)
        together[part]["intervals"] = {key: intervals[key] for key in ("uar", "wa", "macro_f1")}
        print(part, json.dumps(together[part]))
    write(options.result, together)


def averaged(folders: list[Path]) -> dict[str, Predictions]:
    """Each part's clips in one fold with the runs' mean probabilities.

    Raises:
        UserError: if the runs do not share their clips or their labels.
    """
    tables = [pq.read_table(folder / "report" / "predictions.parquet").sort_by("id") for folder in folders]
    names = emotions(tables[0])
    for folder, table in zip(folders[1:], tables[1:], strict=True):
        same = all(table[name].equals(tables[0][name]) for name in ("id", "part", "label"))
        if not same or set(emotions(table)) != set(names):
            raise UserError(f"{folder}: other clips, parts or labels than {folders[0]}")
    found = {}
    for part in PARTS:
        predictions = [from_table(table, part, names) for table in tables]
        mean = sum(own.probabilities for own in predictions) / len(predictions)
        found[part] = dataclasses.replace(predictions[0], probabilities=mean)
    return found


def emotions(table: pa.Table) -> list[str]:
    return [name.removeprefix("p_") for name in table.column_names if name.startswith("p_")]


def scores(own: Predictions) -> dict[str, float]:
    (predicted,) = own.predicted
    return classification_metrics(own.labels, predicted, len(own.names)) | {"clips": len(own)}


if __name__ == "__main__":
    main()
