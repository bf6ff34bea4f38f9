"""The files of a comparison of runs: page, bar chart, tables."""

import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ..evaluation.metrics import NAMES
from ..report.page import picture, template
from ..report.plots import COLORS, save_figure, svg
from ..utils.environment import __version__
from ..utils.files import atomic_folder, write_json


def write_comparison(comparison: Mapping[str, Any], folder: Path) -> None:
    with atomic_folder(folder, "--output") as partial:
        figure, narrow = (
            bar_chart(comparison["runs"], comparison["metric"], width) for width in (8.5, 3.7)
        )
        for name in ("comparison.png", "comparison.svg"):
            save_figure(figure, partial / name)
        (partial / "comparison.csv").write_text(_csv(comparison), encoding="utf-8")
        write_json(partial / "comparison.json", comparison)
        metric = comparison["metric"]
        figures = ", ".join(
            f"{row['name']} {row['metrics'][metric]:.3f}" for row in comparison["runs"]
        )
        alt = f"Bar chart of {NAMES[metric]} with intervals, the best first: {figures}."
        page = template(__package__, "compare.html").render(
            **comparison,
            version=__version__,
            names=NAMES,
            tables=[table.to_dict("records") for table in tables(comparison)],
            picture=picture(alt, svg(figure), figure.get_size_inches()),
            narrow=picture(alt, svg(narrow), narrow.get_size_inches()),
        )
        (partial / "index.html").write_text(page, encoding="utf-8")


def bar_chart(rows: Sequence[Mapping[str, Any]], metric: str, width: float = 8.5) -> Figure:
    """A bar for each run with its interval, below its name; runs evaluated on training speakers are
    hatched.

    `width` is in inches; of a name that is longer than the figure the end is shown.
    """
    figure = Figure(figsize=(width, 1 + 0.55 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    for place, row in enumerate(rows):
        value = row["metrics"][metric]
        leaky = _leaky(row)
        low, high = row["intervals"].get(metric) or (value, value)
        error = [[max(0, value - low)], [max(0, high - value)]]
        axes.barh(
            place,
            value,
            0.45,
            xerr=error,
            capsize=3,
            color=COLORS[leaky],
            hatch="//" if leaky else "",
        )
        axes.text(max(value, high) + 0.012, place, f"{value:.3f}", va="center", fontsize=9)
        room = int(12 * width)  # letters
        name = row["name"] if len(row["name"]) <= room else f"…{row['name'][1 - room :]}"
        # A dollar sign in a name is no formula.
        axes.text(0.01, place - 0.3, name, va="bottom", fontsize=9, parse_math=False)
    hatched = "; hatched: evaluated on training speakers" if any(map(_leaky, rows)) else ""
    label = textwrap.fill(f"{NAMES[metric]} (lines: intervals{hatched})", int(12 * width))
    axes.set(
        xlim=(min(0, axes.get_xlim()[0]), 1.1),
        xlabel=label,
        yticks=[],
        ylim=(len(rows) - 0.6, -0.8),
    )
    return figure


def tables(comparison: Mapping[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The runs, and the pairs, as formatted text."""
    metric = comparison["metric"]
    noise = any(row["noise"] is not None for row in comparison["runs"])
    runs = [
        {
            "run": row["name"],
            "protocol": f"{row['protocol']['name']} {row['protocol']['sha256'][:8]}"
            + (" LEAKY" if row["protocol"]["leak"] else ""),
            "split": row["part"],
            NAMES[metric]: f"{row['metrics'][metric]:.3f}",
            "interval": _span(row["intervals"].get(metric)),
            **{
                NAMES[name]: _number(value, ".3f")
                for name, value in row["metrics"].items()
                if name != metric
            },
            "sd": _number(row["deviations"].get(metric), ".3f"),
            **({"in noise": _number(row["noise"], ".3f")} if noise else {}),
            "folds": row["folds"] or "-",
            "seeds": row["seeds"] or 1,
            "parameters": _number(row["parameters"]),
            "trainable": _number(row["trainable"]),
            "training": _number(row["seconds"] and row["seconds"] / 60, ".1f") + " min",
        }
        for row in comparison["runs"]
    ]
    pairs = [
        {
            "on the same clips": f"{pair['a']} over {pair['b']}",
            "verdict": pair["verdict"],
            "difference": f"{pair['metrics'][metric]['difference']:+.3f}",
            "interval": _span(pair["metrics"][metric]["interval"], "+.3f"),
            "p (Holm)": f"{pair['p_holm']:.2g}",
        }
        for pair in comparison["pairs"]
    ]
    return pd.DataFrame(runs), pd.DataFrame(pairs)


def paper_table(comparison: Mapping[str, Any], format: str) -> str:
    """The runs for a paper, as ``markdown``, ``latex`` (with booktabs) or ``csv``.

    The best figure is bold if a paired test shows that it is better than the next one, and the run
    has no leak.
    """
    if format == "csv":
        return _csv(comparison).rstrip()
    rows = comparison["runs"]
    metric = NAMES[comparison["metric"]]
    table = tables(comparison)[0]
    others = [NAMES[name] for name in rows[0]["metrics"] if NAMES[name] != metric]
    table = table[["run", metric, "interval", *others]].rename(
        columns={"interval": f"{100 * rows[0]['confidence']:g} % interval"}
    )
    table["run"] += [" (knows test speakers)" * _leaky(row) for row in rows]
    bold, note = _best(comparison)
    # a character that no format escapes
    figure = table.loc[0, metric]
    place = "\ue000"
    table.loc[0, metric] = place
    if format == "latex":
        text = table.to_latex(index=False, escape=True)
        best = r"\textbf{{{}}}"
    else:
        cells = table.map(lambda cell: re.sub(r"([\\`*|<])", r"\\\1", cell)).to_numpy().tolist()
        lines = [
            f"| {' | '.join(row)} |\n" for row in ([*table], ["---"] * len(table.columns), *cells)
        ]
        text = "".join(lines)
        best = "**{}**"
    text = text.replace(place, best.format(figure) if bold else figure)
    return f"{text}\n{'% ' * (format == 'latex')}{note}"


def _best(comparison: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether the first run is shown to be better than the second, and a sentence about it."""
    best = comparison["runs"][0]
    names = {row["name"] for row in comparison["runs"][:2]}
    pair = next((pair for pair in comparison["pairs"] if {pair["a"], pair["b"]} == names), None)
    if pair is None or _leaky(best):
        return (
            False,
            "The best two are not compared: other clips, missing predictions, or known test speakers.",
        )
    bold = pair["verdict"] == f"{best['name']} is better"
    found = "Bold: better than the next" if bold else "No difference between the best two is shown"
    return bold, f"{found} (paired bootstrap, p = {pair['p_holm']:.2g} after Holm's correction)."


def _leaky(row: Mapping[str, Any]) -> bool:
    return bool(row["protocol"]["leak"] or row["protocol"]["shared_speakers"])


def _csv(comparison: Mapping[str, Any]) -> str:
    """The runs with the ends of intervals; an apostrophe precedes what a spreadsheet would evaluate
    as a formula.
    """
    table = pd.json_normalize(comparison["runs"])
    for name in [name for name in table if name.startswith("intervals.")]:
        for end, key in enumerate(("low", "high")):
            table[f"{name}.{key}"] = table[name].str[end]
        del table[name]
    return table.replace(r"^([=+\-@\t\r])", r"'\1", regex=True).to_csv(index=False)


def _span(interval: Sequence[float] | None, form: str = ".3f") -> str:
    return " to ".join(format(end, form) for end in interval) if interval else "-"


def _number(number: float | None, form: str = ",") -> str:
    return "-" if number is None else format(number, form)
