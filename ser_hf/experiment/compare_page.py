"""A comparison as text for the terminal, and as files: a page, a bar chart, CSV and JSON."""

import base64
import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..evaluation.metrics import DEFINITIONS, NAMES
from ..report.page import template
from ..report.plots import COLORS, save_figure
from ..utils.environment import __version__
from ..utils.files import atomic_folder

FILES = ("comparison.json", "comparison.csv", "comparison.png", "comparison.svg", "index.html")
_METRICS = ("uar", "wa", "macro_f1")
# Limits of the terminal: pairs, and groups of runs that are not paired.
_PAIRS_SHOWN = 10
_UNPAIRED_SHOWN = 4
# Letters of a name in one line of the bar chart.
_WIDTH = 34


def write_files(comparison: Mapping[str, Any], folder: Path) -> None:
    """Writes `FILES`; `comparison` is the result of `compare_runs`."""
    with atomic_folder(folder, "--output") as partial:
        figure = bar_chart(comparison["runs"], comparison["metric"])
        for name in ("comparison.png", "comparison.svg"):
            save_figure(figure, partial / name)
        _table(comparison["runs"]).to_csv(partial / "comparison.csv", index=False)
        text = json.dumps(comparison, indent=1, ensure_ascii=False, allow_nan=False)
        (partial / "comparison.json").write_text(text + "\n", encoding="utf-8")
        page = render(comparison, (partial / "comparison.svg").read_bytes())
        (partial / "index.html").write_text(page, encoding="utf-8")


def render(comparison: Mapping[str, Any], chart: bytes) -> str:
    """The page as HTML; `chart` is an SVG."""
    metric = comparison["metric"]
    figures = ", ".join(f"{row['name']} {row['metrics'][metric]:.3f}" for row in comparison["runs"])
    return template(__package__, "compare.html", span=span, p_value=p_value, minus=_minus).render(
        **comparison,
        version=__version__,
        names=NAMES,
        measures=DEFINITIONS,
        headings=headings(metric),
        cells={row["name"]: cells(row, metric) for row in comparison["runs"]},
        mcnemar=_mcnemar,
        verdict=_verdict(comparison),
        not_paired=_not_paired,
        picture=f"data:image/svg+xml;base64,{base64.b64encode(chart).decode('ascii')}",
        alt=f"Bar chart of {NAMES[metric]} with intervals, the best first: {figures}.",
    )


def summary(comparison: Mapping[str, Any]) -> str:
    """The table of runs, the pairs, and the warnings, for the terminal."""
    rows, metric, settings = comparison["runs"], comparison["metric"], comparison["settings"]
    pairs, unpaired, title = comparison["pairs"], comparison["unpaired"], NAMES[metric]
    lines = ["", *_aligned(headings(metric), [cells(row, metric) for row in rows])]
    if pairs:
        heads = ["on the same clips", "verdict", f"{title} of both", "difference", "interval", "p (Holm)", "McNemar p"]
        table = []
        for pair in pairs[:_PAIRS_SHOWN]:
            own, a, b = pair["metrics"][metric], pair["a"], pair["b"]
            verdict = f"{a} is better" if pair["verdict"] == "a is better" else pair["verdict"]
            figures = [f"{own['a']:.3f} - {own['b']:.3f}", f"{own['difference']:+.3f}", span(own["interval"], True)]
            table.append([f"{a} over {b}", verdict, *figures, p_value(pair["p_holm"]), _mcnemar(pair["mcnemar"])])
        lines += ["", *_aligned(heads, table)]
        how = (
            f"{settings['resamples']:,} resamples of speakers and clips, {100 * settings['confidence']:g} % intervals"
        )
        lines.append(f"  {how}, p-values with Holm's correction for {len(pairs)} pairs")
        if len(pairs) > _PAIRS_SHOWN:
            lines.append(f"  {len(pairs) - _PAIRS_SHOWN} more pairs in comparison.json (--output)")
    lines += [f"  {row['name']}: {note}" for row in rows for note in row["notes"]]
    lines += [f"  not paired: {_not_paired(one)}" for one in unpaired[:_UNPAIRED_SHOWN]]
    if len(unpaired) > _UNPAIRED_SHOWN:
        lines.append(f"  not paired: {len(unpaired) - _UNPAIRED_SHOWN} more, in comparison.json (--output)")
    return "\n".join(lines + [f"  warning: {warning}" for warning in comparison["warnings"]])


def headings(metric: str) -> list[str]:
    others = [NAMES[name] for name in _METRICS if name != metric]
    return ["run", "protocol", NAMES[metric], "interval", *others, "sd", "over", "parameters", "trainable", "training"]


def cells(row: Mapping[str, Any], metric: str) -> list[str]:
    """The texts of a run, one for each of the headings."""
    repeats, protocol, deviation = row["repeats"], row["protocol"], row["deviations"].get(metric)
    mark = " LEAKY" if protocol["leak"] else " (training speakers)" if protocol["shared_speakers"] else ""
    if protocol["shared_speakers"] is None:
        mark = " (training speakers unknown)"
    return [
        row["name"],
        protocol_name(row) + ("" if row["part"] == "test" else f", {row['part']}") + mark,
        f"{row['metrics'][metric]:.3f}",
        span(row["intervals"].get(metric)),
        *(f"{row['metrics'][name]:.3f}" for name in _METRICS if name != metric),
        "-" if deviation is None else f"{deviation:.3f}",
        f"{repeats['number']} {repeats['kind']}" if repeats else "-",
        _count(row["parameters"]),
        _count(row["learning"]),
        _seconds(row["seconds"]["training"]),
    ]


def protocol_name(row: Mapping[str, Any]) -> str:
    return f"{row['protocol']['name']} {row['protocol']['sha256'][:8]}"


def span(interval: Sequence[float] | None, signed: bool = False) -> str:
    """An interval, such as ``0.612 to 0.704``."""
    return " to ".join(f"{end:+.3f}" if signed else f"{end:.3f}" for end in interval) if interval else "-"


def p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def bar_chart(rows: Sequence[Mapping[str, Any]], metric: str) -> Figure:
    """A bar for each run with its interval, and a point for each seed or fold."""
    names = [textwrap.fill(row["name"], _WIDTH, break_on_hyphens=False) for row in rows]
    lines = sum(name.count("\n") + 1 for name in names)
    figure = Figure(figsize=(8.5, 1.2 + 0.12 * lines + 0.3 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    handles = []
    classes = {len(row["labels"]) for row in rows}
    if metric == "uar" and len(classes) == 1:
        chance = 1 / classes.pop()
        handles.append(axes.axvline(chance, color="0.35", linestyle=":", linewidth=1.2, label=f"chance {chance:.3f}"))
    last, flawed = 1.0, None
    for place, row in enumerate(rows):
        value, points = row["metrics"][metric], row["values"].get(metric, [])
        leaky = bool(row["protocol"]["leak"] or row["protocol"]["shared_speakers"])
        bar = axes.barh(place, value, 0.62, color=COLORS[leaky], alpha=0.75, hatch="//" if leaky else "")
        flawed = bar if leaky else flawed
        low, high = row["intervals"].get(metric, (value, value))
        if low < high:
            axes.plot([low, high], [place, place], "|-", color="black", linewidth=1.4, markersize=7)
        if len(points) > 1:
            axes.plot(
                points, [place + 0.17] * len(points), "o", color="white", markeredgecolor="black", markersize=3.6
            )
        end = max(value, high, *points) + 0.012
        axes.text(end, place, f"{value:.3f}", va="center", fontsize=9)
        last = max(last, end + 0.08)
    if flawed is not None:
        flawed.set_label("evaluated on training speakers")
        handles.append(flawed)
    # A dollar sign in a name is no formula.
    axes.set_yticks(np.arange(len(rows)), names, parse_math=False, fontsize=9)
    kinds = sorted({row["repeats"]["kind"] for row in rows if row["repeats"] and row["repeats"]["number"] > 1})
    words = ["lines: intervals"] * any(metric in row["intervals"] for row in rows)
    words += [f"points: {' or '.join(kinds)}"] if kinds else []
    axes.set(xlim=(0, last), xlabel=NAMES[metric] + (f" ({', '.join(words)})" if words else ""))
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    if handles:
        figure.legend(handles=handles, loc="outside lower right", ncols=len(handles), frameon=False, fontsize=9)
    return figure


def _table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """comparison.csv: one row a run."""
    table = []
    for row in rows:
        own = {key: row[key] for key in ("name", "source", "part")}
        own |= {f"protocol_{key}": row["protocol"][key] for key in ("name", "sha256", "leak")}
        own |= {key: row[key] for key in ("clips", "speakers")}
        for metric in _METRICS:
            low, high = row["intervals"].get(metric, (None, None))
            own |= {metric: row["metrics"][metric], f"{metric}_low": low, f"{metric}_high": high}
            own[f"{metric}_deviation"] = row["deviations"].get(metric)
        own |= row["repeats"] or {"kind": None, "number": None}
        own |= {key: row[key] for key in ("parameters", "learning")}
        own |= {f"{name}_seconds": value for name, value in row["seconds"].items()}
        table.append(own | {"machine": row["machine"]})
    return pd.DataFrame(table, dtype=object).map(_cell)


def _cell(value: Any) -> Any:
    """An apostrophe precedes what a spreadsheet would evaluate as a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _verdict(comparison: Mapping[str, Any]) -> dict[str, str]:
    """The result in one sentence, and its level."""
    rows, metric = comparison["runs"], comparison["metric"]
    best, others = rows[0], len(rows) - 1
    lead = f"{best['name']} has the highest {NAMES[metric]}, {best['metrics'][metric]:.3f}"
    if best["protocol"]["leak"] or best["protocol"]["shared_speakers"]:
        return {"level": "error", "text": f"{lead}, on speakers of its training split."}
    if best["protocol"]["shared_speakers"] is None:
        return {"level": "warning", "text": f"{lead}, on speakers that may be in its training split."}
    if comparison["unpaired"]:
        return {"level": "note", "text": "The runs predicted different clips: their figures are not comparable."}
    better = sum(pair["a"] == best["name"] and pair["verdict"] == "a is better" for pair in comparison["pairs"])
    text = f"{lead}; the difference is significant for {better} of {others} other {'run' if others == 1 else 'runs'}."
    return {"level": "ok" if better == others else "note", "text": text}


def _not_paired(one: Mapping[str, Any]) -> str:
    others = f" with {', '.join(one['others'])}" if one["others"] else ""
    return f"{', '.join(one['runs'])}{others}: {one['why']}"


def _mcnemar(tests: Sequence[Mapping[str, Any]]) -> str:
    """The corrected p-value, or the range over the seeds."""
    values = sorted(test["p_holm"] for test in tests)
    if len(values) < 2:
        return p_value(values[0]) if values else "-"
    return f"{p_value(values[0])} to {p_value(values[-1])} ({len(values)} seeds)"


def _count(number: int | None) -> str:
    if number is None:
        return "-"
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return str(number)


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    if value < 100:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 6000 else f"{value / 3600:.1f} h"


def _minus(text: str) -> str:
    """With a minus sign as wide as a digit."""
    return text.replace("-", "−")


def _aligned(heads: Sequence[str], table: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: two columns to the left, figures to the right."""
    columns = []
    for i, column in enumerate(zip(heads, *table, strict=True)):
        width = max(map(len, column))
        columns.append([cell.ljust(width) if i < 2 else cell.rjust(width) for cell in column])
    return ["  " + "  ".join(line).rstrip() for line in zip(*columns, strict=True)]
