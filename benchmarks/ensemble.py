"""Several runs over the same folds, their probabilities averaged with equal weights: what networks are worth together.

    python benchmarks/ensemble.py RUN RUN... --result benchmarks/results/NAME.json

The runs are folders of `ser_hf.train` with the same clips in each part of each fold, so that what is averaged was
judged by networks that have not learnt from them. Nothing is fitted: each network has the same say, whatever the
validation speakers say of it. Runs are not trained here; what is written says which they were.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from fixed_split import write

from ser_hf.errors import UserError
from ser_hf.evaluation.metrics import classification_metrics


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
        "folds": folds,
    }
    for part in ("validation", "test"):
        values = {key: [fold[part][key] for fold in folds.values()] for key in ("uar", "wa", "macro_f1")}
        together[part] = {key: statistics.mean(own) for key, own in values.items()}
        together[part]["uar_deviation"] = statistics.stdev(values["uar"])
        print(part, {key: round(value, 3) for key, value in together[part].items()})
    write(options.result, together)


def averaged(folders: list[Path]) -> dict[str, dict[str, Any]]:
    """Metrics of each part's mean probabilities in one fold.

    Raises:
        UserError: if the runs do not share their clips or their labels.
    """
    tables = [pq.read_table(folder / "report" / "predictions.parquet").sort_by("id") for folder in folders]
    columns = [name for name in tables[0].column_names if name.startswith("p_")]
    names = [name.removeprefix("p_") for name in columns]
    for folder, table in zip(folders[1:], tables[1:], strict=True):
        same = all(table[name].equals(tables[0][name]) for name in ("id", "part", "label"))
        if not same or {name for name in table.column_names if name.startswith("p_")} != set(columns):
            raise UserError(f"{folder}: other clips, parts or labels than {folders[0]}")
    probabilities = np.mean([[table[name].to_numpy() for name in columns] for table in tables], axis=0).T
    labels = np.asarray([names.index(label) for label in tables[0]["label"].to_pylist()])
    parts = np.asarray(tables[0]["part"].to_pylist())
    found = {}
    for part in ("validation", "test"):
        own = parts == part
        found[part] = classification_metrics(labels[own], probabilities[own].argmax(axis=1), len(names))
        found[part]["clips"] = int(own.sum())
    return found


if __name__ == "__main__":
    main()
