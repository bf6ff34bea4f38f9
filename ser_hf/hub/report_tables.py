"""A report's figures as tables that a data set's viewer shows: scores of runs, slices, what is taken for what."""

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

_RUN = {
    # Where the run stands below the whole one, such as fold-1/seed-2; "all" is the whole one, a mean over several.
    "run": pa.string(),
    "fold": pa.int32(),
    "seed": pa.int32(),
    # Whether its protocol is the leaky one that is judged for comparison.
    "foil": pa.bool_(),
    # Whether the published weights are its own.
    "chosen": pa.bool_(),
    "part": pa.string(),
    # What a fold tests, such as a speaker.
    "tested": pa.string(),
    "protocol": pa.string(),
    "split_sha256": pa.string(),
    "leaky": pa.bool_(),
    "clips": pa.int64(),
    "speakers": pa.int64(),
}
SLICES = pa.schema(
    {
        # The column that cuts, such as sex or speaker, and its value.
        "column": pa.string(),
        "value": pa.string(),
        "clips": pa.int64(),
        "uar": pa.float64(),
        "uar_low": pa.float64(),
        "uar_high": pa.float64(),
        "wa": pa.float64(),
        "macro_f1": pa.float64(),
        "weighted_f1": pa.float64(),
    }
)
CONFUSION = pa.schema(
    {
        "label": pa.string(),
        "predicted": pa.string(),
        "clips": pa.int64(),
        # Of the clips of that label.
        "share": pa.float64(),
    }
)


def scores_table(reports: Mapping[str, Mapping[str, Any]], chosen: str | None = "all") -> pa.Table:
    """A row for each run on the part that judged it, and on the others that its report tells of; a column for each
    metric, and for those with intervals (over speakers and their clips) two more, `METRIC_low` and `METRIC_high`.

    Args:
        reports: {place below the whole run: its report}; "all" is the whole one.
        chosen: the place of the run whose weights are published.
    """
    rows = [row for place, report in reports.items() for row in _scores(place, report, place == chosen)]
    with_intervals = {metric for report in reports.values() for metric in report.get("intervals", {})}
    metrics = dict.fromkeys(metric for report in reports.values() for metric in report["metrics"])
    ends = [(metric, *((f"{metric}_low", f"{metric}_high") if metric in with_intervals else ())) for metric in metrics]
    schema = pa.schema(_RUN | {name: pa.float64() for names in ends for name in names})
    return pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema=schema)


def _scores(place: str, report: Mapping[str, Any], chosen: bool) -> Iterator[dict[str, Any]]:
    protocol, judged_on = report["protocol"], report["judged_on"]
    numbers = dict(name.split("-") for name in place.split("/") if "-" in name)
    told = {
        "run": place,
        "fold": int(numbers["fold"]) if "fold" in numbers else None,
        "seed": int(numbers["seed"]) if "seed" in numbers else None,
        "foil": place.startswith("foil"),
        "chosen": chosen,
        "tested": protocol.get("fold"),
        "protocol": protocol["name"],
        "split_sha256": protocol["sha256"],
        "leaky": bool(protocol.get("leak")),
    }
    scores = {judged_on: report["metrics"], **{p: own for p, own in report.get("parts", {}).items() if p != judged_on}}
    for part, metrics in scores.items():
        own = protocol.get("parts", {}).get(part, {})
        counts = {"clips": own.get("clips"), "speakers": len(own["speakers"]) if "speakers" in own else None}
        ends = {}
        for metric, (low, high) in report.get("intervals", {}).items() if part == judged_on else ():
            ends |= {f"{metric}_low": low, f"{metric}_high": high}
        yield {**metrics, **ends, **told, **counts, "part": part}


def slices_table(report: Mapping[str, Any]) -> pa.Table:
    """A row for each value of each column that the report looks at by itself."""
    rows = []
    for column, values in report.get("slices", {}).items():
        for value, own in values.items():
            low, high = own.get("interval") or (None, None)
            rows.append({**own, "column": column, "value": value, "uar_low": low, "uar_high": high})
    return pa.Table.from_pylist(
        [{name: row.get(name) for name in SLICES.names} for row in rows],
        schema=SLICES,
    )


def confusion_table(report: Mapping[str, Any]) -> pa.Table:
    """A row for each pair of a label and an answer; counts of several seeds are summed."""
    names, rows = report["labels"], []
    for label, counts in zip(names, report["confusion"], strict=True):
        total = sum(counts)
        for predicted, clips in zip(names, counts, strict=True):
            share = clips / total if total else None
            rows.append({"label": label, "predicted": predicted, "clips": clips, "share": share})
    return pa.Table.from_pylist(rows, schema=CONFUSION)
