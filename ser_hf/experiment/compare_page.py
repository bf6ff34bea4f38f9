"""The page of a comparison: one file, its picture inside."""

import base64
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..evaluation.metrics import DEFINITIONS, NAMES
from ..report.page import template
from ..report.plots import COLOURS
from ..utils.environment import __version__
from .compare import fingerprint

# Letters of a name in the terminal.
_LONGEST = 48
# More pairs than this, and the terminal shows those with the best run of each group only.
MOST_PAIRS = 10
# Groups that cannot be paired with one another, of which the terminal tells why.
MOST_UNPAIRED = 4


def summary(comparison: Mapping[str, Any]) -> str:
    """The table, the pairs, what was not paired and why, and what to beware of."""
    rows, metric = comparison["runs"], comparison["metric"]
    names = shortened([row["name"] for row in rows], _LONGEST)
    table = [[names[row["name"]], *cells(row, metric)[1:]] for row in rows]
    lines = ["", *_aligned(headings(metric), table)]
    if comparison["pairs"]:
        lines += ["", *_pairs(comparison, names)]
    lines += [f"  {name}: {told}" for name, told in ((row["name"], told) for row in rows for told in row["told"])]
    unpaired = comparison["unpaired"]
    lines += [f"  not paired: {not_paired(one)}" for one in unpaired[:MOST_UNPAIRED]]
    if len(unpaired) > MOST_UNPAIRED:
        lines.append(f"  not paired: {len(unpaired) - MOST_UNPAIRED} more groups, in comparison.json (--output)")
    return "\n".join([*lines, *(f"  note: {warning}" for warning in comparison["warnings"])])


def shortened(names: Sequence[str], longest: int) -> dict[str, str]:
    """Each name with the middle of what is too long left out, unless two came to the same."""
    half = (longest - 3) // 2
    short = {name: name if len(name) <= longest else f"{name[:half]}...{name[-half:]}" for name in names}
    return {name: cut if list(short.values()).count(cut) == 1 else name for name, cut in short.items()}


def headings(metric: str) -> list[str]:
    others = [name for name in ("uar", "wa", "macro_f1") if name != metric]
    spread = ["sd", "over"]
    cost = ["parameters", "learning", "training", "an epoch"]
    return ["run", "protocol", NAMES[metric], "interval", *(NAMES[name] for name in others), *spread, *cost]


def cells(row: Mapping[str, Any], metric: str) -> list[str]:
    """The texts of a row, one for each of the headings."""
    others = [name for name in ("uar", "wa", "macro_f1") if name != metric]
    repeats, protocol = row["repeats"], row["protocol"]
    part = "" if row["part"] == "test" else f", {row['part']}"
    heard = " (not known whom it heard)" if protocol["heard_before"] is None else ""
    mark = " LEAKY" if protocol["leak"] else " (speakers heard before)" if protocol["heard_before"] else heard
    return [
        row["name"],
        f"{fingerprint(row)}{part}{mark}",
        f"{row['metrics'][metric]:.3f}",
        span(row["intervals"].get(metric)),
        *(f"{row['metrics'][name]:.3f}" for name in others),
        f"{row['deviations'][metric]:.3f}" if metric in row["deviations"] else "-",
        f"{repeats['number']} {repeats['kind']}" if repeats else "-",
        count(row["parameters"]),
        count(row["learning"]),
        seconds(row["seconds"]["training"]),
        seconds(row["seconds"]["per_epoch"]),
    ]


def span(interval: Sequence[float] | None, signed: bool = False) -> str:
    if interval is None:
        return "-"
    low, high = (f"{end:+.3f}" if signed else f"{end:.3f}" for end in interval)
    return f"{low} to {high}"


def count(number: int | None) -> str:
    """A number of parameters in three digits."""
    if number is None:
        return "-"
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return str(number)


def seconds(value: float | None) -> str:
    """A time as people say it."""
    if value is None:
        return "-"
    if value < 100:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 6000 else f"{value / 3600:.1f} h"


def chance(p: float) -> str:
    """A p-value in the digits that mean something."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def chances(tests: Sequence[Mapping[str, Any]]) -> str:
    """The p-values of McNemar's tests, corrected: one, or the least and the largest over the seeds."""
    values = sorted(test["p_holm"] for test in tests)
    if len(values) < 2:
        return chance(values[0]) if values else "-"
    return f"{chance(values[0])} to {chance(values[-1])} ({len(values)} seeds)"


def not_paired(one: Mapping[str, Any]) -> str:
    others = f" with {', '.join(one['others'])}" if one["others"] else ""
    return f"{', '.join(one['runs'])}{others}: {one['why']}"


def shown_pairs(comparison: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], int]:
    """The pairs to show, and how many others there are: where they are many, those with the first run that is in any
    pair of its group."""
    pairs = comparison["pairs"]
    if len(pairs) <= MOST_PAIRS:
        return pairs, 0
    beaten = {pair["b"] for pair in pairs}
    kept = [pair for pair in pairs if pair["a"] not in beaten]
    return kept, len(pairs) - len(kept)


def _pairs(comparison: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    metric, settings = comparison["metric"], comparison["settings"]
    pairs, others = shown_pairs(comparison)
    name = NAMES[metric]
    heads = ["on the same clips", f"{name} of both", "difference", "interval", "p (Holm)", "McNemar p (Holm)", ""]
    table = []
    for pair in pairs:
        own = pair["metrics"][metric]
        figures = [f"{own['a']:.3f} - {own['b']:.3f}", f"{own['difference']:+.3f}", span(own["interval"], signed=True)]
        tests = [chance(pair["p_holm"]), chances(pair["mcnemar"])]
        a, verdict = names[pair["a"]], pair["verdict"]
        verdict = f"{a} is better" if verdict == "a is better" else verdict
        table.append([f"{a} over {names[pair['b']]}", *figures, *tests, verdict])
    how = f"{settings['resamples']:,} resamples of speakers and clips, {100 * settings['confidence']:g} % intervals"
    many = len(comparison["pairs"])
    corrected = f", p-values corrected for {many} pairs (Holm)" if many > 1 else ""
    lines = [*_aligned(heads, table), f"  {how}{corrected}"]
    return lines + ([f"  {others} more pairs in comparison.json (--output)"] if others else [])


def _aligned(heads: Sequence[str], table: Sequence[Sequence[str]]) -> list[str]:
    """Columns of texts: the first two to the left as is one without a heading, figures to the right."""
    columns = []
    for i, column in enumerate(zip(heads, *table, strict=True)):
        width = max(map(len, column))
        left = i < 2 or not heads[i]
        columns.append([cell.ljust(width) if left else cell.rjust(width) for cell in column])
    return ["  " + "  ".join(line).rstrip() for line in zip(*columns, strict=True)]


def page(comparison: Mapping[str, Any], picture: bytes) -> str:
    """The page as HTML, every string escaped.

    Args:
        comparison: what `compare_runs` returns.
        picture: the bar chart as SVG.
    """
    return template(__package__, "compare.html", span=span, chance=chance, minus=_minus).render(
        **comparison,
        version=__version__,
        names=NAMES,
        measures=DEFINITIONS,
        headings=headings(comparison["metric"]),
        cells={row["name"]: cells(row, comparison["metric"]) for row in comparison["runs"]},
        chances=chances,
        verdict=_verdict(comparison),
        not_paired=not_paired,
        picture=as_source(picture),
        alt=_described(comparison),
    )


def as_source(picture: bytes) -> str:
    """An SVG as an address that holds it."""
    return f"data:image/svg+xml;base64,{base64.b64encode(picture).decode('ascii')}"


def _described(comparison: Mapping[str, Any]) -> str:
    metric = comparison["metric"]
    rows = ", ".join(f"{row['name']} {row['metrics'][metric]:.3f}" for row in comparison["runs"])
    return f"Bar chart of {NAMES[metric]} with intervals, the best first: {rows}."


def _verdict(comparison: Mapping[str, Any]) -> dict[str, str]:
    """What the whole comparison comes to, and how good news that is."""
    rows, metric = comparison["runs"], comparison["metric"]
    best, title = rows[0], NAMES[metric]
    others = len(rows) - 1
    lead = f"{best['name']} has the highest {title}, {best['metrics'][metric]:.3f}"
    if best["protocol"]["leak"] or best["protocol"]["heard_before"]:
        return {"level": "error", "text": f"{lead}, of speakers that it heard in training."}
    if best["protocol"]["heard_before"] is None:
        return {"level": "warning", "text": f"{lead}, of speakers that it may have heard in training."}
    if comparison["unpaired"]:
        return {
            "level": "note",
            "text": "Not all runs answered the same clips, and figures on different ones rank nothing.",
        }
    beaten = sum(pair["a"] == best["name"] and pair["verdict"] == "a is better" for pair in comparison["pairs"])
    if beaten == others:
        return {
            "level": "ok",
            "text": f"{lead}; its lead over {'every other' if others > 1 else 'the other'} is shown.",
        }
    shown = f"its lead over {beaten} of {others} is shown" if beaten else "no lead over another is shown"
    return {"level": "note", "text": f"{lead}; {shown}."}


def _minus(text: str) -> str:
    """With the minus sign that lines up with digits."""
    return text.replace("-", "−")


# Letters of a name in one line. Of what is longer than two lines the middle is left out, dots at the end of the first.
_WIDTH = 34


def bars_figure(rows: Sequence[Mapping[str, Any]], metric: str) -> Figure:
    """Runs from top to bottom in their order, `ser_hf.experiment.compare.row_of` each."""
    short = shortened([row["name"] for row in rows], 2 * _WIDTH - 3)
    names = ["\n".join(textwrap.wrap(short[row["name"]], _WIDTH, break_on_hyphens=False)) for row in rows]
    lines = sum(name.count("\n") + 1 for name in names)
    figure = Figure(figsize=(8.5, 1.2 + 0.12 * lines + 0.3 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(rows))
    values = np.array([row["metrics"][metric] for row in rows])
    leaky = [bool(row["protocol"]["leak"] or row["protocol"]["heard_before"]) for row in rows]
    # Hatching is drawn in the edge's colour: stripes of the ground would vanish on a clear one.
    with matplotlib.rc_context({"hatch.linewidth": 1.2}):
        bars = axes.barh(
            places, values, 0.62, color=[COLOURS[1] if leak else COLOURS[0] for leak in leaky], alpha=0.75
        )
    for bar, leak in zip(bars, leaky, strict=True):
        bar.set_hatch("//" if leak else "")
    ends = values.copy()
    for place, row in zip(places, rows, strict=True):
        if metric in row["intervals"]:
            low, high = row["intervals"][metric]
            axes.plot([low, high], [place, place], color="black", linewidth=1.4)
            axes.plot([low, high], [place, place], "|", color="black", markersize=7)
            ends[place] = max(ends[place], high)
        points = row["values"].get(metric, [])
        if len(points) > 1:
            axes.plot(
                points, [place + 0.17] * len(points), "o", color="white", markeredgecolor="black", markersize=3.6
            )
            ends[place] = max(ends[place], *points)
        axes.text(ends[place] + 0.012, place, f"{values[place]:.3f}", va="center", fontsize=9)
    chance = _chance(rows) if metric == "uar" else None
    handles = []
    if chance is not None:
        handles.append(axes.axvline(chance, color="0.35", linestyle=":", linewidth=1.2, label=f"chance {chance:.3f}"))
    if any(leaky):
        handles.append(Patch(facecolor=COLOURS[1], alpha=0.75, hatch="//", label="speakers heard before: flattered"))
    # Names come from recipes and folders: a dollar sign in one is no formula.
    axes.set_yticks(places, names, parse_math=False, fontsize=9)
    axes.set(xlim=(0, max(1.0, ends.max() + 0.09)), xlabel=_axis(rows, metric))
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    if handles:
        figure.legend(handles=handles, loc="outside lower right", ncols=len(handles), frameon=False, fontsize=9)
    return figure


def _axis(rows: Sequence[Mapping[str, Any]], metric: str) -> str:
    confidences = {row["confidence"] for row in rows if metric in row["intervals"]}
    words = [NAMES[metric]]
    if len(confidences) == 1:
        words.append(f"lines: {100 * confidences.pop():g} % intervals")
    kinds = {row["repeats"]["kind"] for row in rows if row["repeats"] and row["repeats"]["number"] > 1}
    if kinds:
        words.append(f"points: {' or '.join(sorted(kinds))}")
    return f"{words[0]} ({', '.join(words[1:])})" if len(words) > 1 else words[0]


def _chance(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """UAR of guessing, where all runs know the same number of classes."""
    counts = {len(row["labels"]) for row in rows}
    return 1 / counts.pop() if len(counts) == 1 else None
