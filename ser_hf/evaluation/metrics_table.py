"""The figures of a report as one tidy table: a row a figure, with its interval where there is one."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

SCHEMA = pa.schema(
    {
        # What the figure is of: judged, pooled, part, class, corpus, fold, seed, foil, condition, or a slice's column.
        "of": pa.string(),
        # Which one: the part's name, the class, the speaker, ...
        "name": pa.string(),
        "clips": pa.int64(),
        "metric": pa.string(),
        "value": pa.float64(),
        # Of the interval over speakers and their clips; null where there is none.
        "low": pa.float64(),
        "high": pa.float64(),
    }
)


def metrics_table(report: Mapping[str, Any]) -> pa.Table:
    """Columns of, name, clips, metric, value, low, high."""
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in _rows(report)], schema=SCHEMA)


def _rows(report: Mapping[str, Any]) -> Iterator[tuple]:
    judged_on, protocol = report["judged_on"], report["protocol"]
    yield from _scores("judged", judged_on, report.get("clips"), report["metrics"], report.get("intervals", {}))
    pooled = report.get("pooled")
    if pooled:
        yield from _scores("pooled", judged_on, report.get("clips"), pooled["metrics"], pooled.get("intervals", {}))
    for part, scores in report.get("parts", {}).items():
        clips = protocol.get("parts", {}).get(part, {}).get("clips")
        yield from _scores("part", part, clips, scores)
    for label, own in report.get("per_class", {}).items():
        yield from _scores("class", label, own["support"], own, {"recall": own.get("recall_interval")})
    for column, values in report.get("slices", {}).items():
        for value, own in values.items():
            yield from _scores(column, value, own["clips"], own, {"uar": own.get("interval")})
    for corpus, own in (report.get("corpora") or {}).items():
        yield from _scores("corpus by itself", corpus, own["clips"], own["metrics"])
    for kind, runs in (("fold", protocol.get("folds")), ("seed", report.get("seeds"))):
        for number, own in (runs or {}).items():
            yield from _scores(kind, number, own.get("parts", {}).get(judged_on, {}).get("clips"), own["metrics"])
    if report.get("foil"):
        yield from _scores("foil", report["foil"]["protocol"], None, report["foil"]["metrics"])
    for own in (report.get("robustness") or {}).get("conditions", ()):
        intervals = {"uar": own.get("interval"), "drop": own.get("drop_interval")}
        kept = {key: own[key] for key in ("uar", "wa", "macro_f1", "drop") if key in own}
        yield from _scores("condition", own["name"], report["robustness"]["clips"], kept, intervals)


def _scores(
    of: str,
    name: Any,
    clips: int | None,
    scores: Mapping[str, Any],
    intervals: Mapping[str, Sequence[float] | None] | None = None,
) -> Iterator[tuple]:
    for metric, value in scores.items():
        if isinstance(value, float):
            low, high = (intervals or {}).get(metric) or (None, None)
            yield of, str(name), clips, metric, value, low, high
