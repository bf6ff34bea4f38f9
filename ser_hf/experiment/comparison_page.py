"""Writes the files of a comparison of runs: the page, the bar chart and the tables."""

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from ..evaluation.metrics import NAMES
from ..report.page import picture, template
from ..report.paper import COLUMN, save_pdf
from ..report.plots import COLORS, save_figure, svg
from ..utils.environment import __version__
from ..utils.files import atomic_folder, write_json
from .compare import ComparedRun, Comparison

# Replaces a figure while a table is escaped: a private Unicode character that no format escapes.
_PLACEHOLDER = "\ue000"
_LETTERS_PER_INCH = 12
_WIDTH = 8.5  # inches, of the bar chart
_NARROW_WIDTH = 3.7  # inches, on a telephone


def write_comparison(
    comparison: Comparison, folder: Path, pictures: Literal["pdf"] | None = None
) -> None:
    """Write comparison.json, comparison.csv, the bar chart and the page to a folder.

    Args:
        pictures: ``pdf`` also writes the bar chart as PDF, as wide as a column of a paper.
    """
    with atomic_folder(folder, "--output") as partial:
        figure = bar_chart(comparison.runs, comparison.metric, _WIDTH)
        narrow = bar_chart(comparison.runs, comparison.metric, _NARROW_WIDTH)
        for name in ("comparison.png", "comparison.svg"):
            save_figure(figure, partial / name)
        if pictures == "pdf":
            column = bar_chart(comparison.runs, comparison.metric, COLUMN)
            save_pdf(column, partial / "comparison.pdf")
        (partial / "comparison.csv").write_text(_csv(comparison), encoding="utf-8")
        write_json(partial / "comparison.json", comparison.to_dict())
        alt = _alternative_text(comparison)
        page = template(__package__, "compare.html", breakable=breakable).render(
            metric=comparison.metric,
            runs=comparison.runs,
            pairs=comparison.pairs,
            warnings=comparison.warnings,
            settings=comparison.settings,
            definitions=comparison.definitions,
            published={
                title: table.to_dict("records")
                for title, table in published_tables(comparison).items()
            },
            version=__version__,
            names=NAMES,
            tables=[table.to_dict("records") for table in tables(comparison)],
            picture=picture(alt, svg(figure), figure.get_size_inches()),
            narrow=picture(alt, svg(narrow), narrow.get_size_inches()),
        )
        (partial / "index.html").write_text(page, encoding="utf-8")


def breakable(value: object) -> Markup:
    """A value in HTML whose names may be divided after a hyphen, underscore or slash only."""
    return Markup("<wbr>").join(re.split(r"(?<=\w[-_/])(?=\w)", str(value)))


def _alternative_text(comparison: Comparison) -> str:
    """The alternative text of the bar chart, for readers who cannot see it."""
    metric = comparison.metric
    figures = ", ".join(f"{row.name} {row.metrics[metric]:.3f}" for row in comparison.runs)
    return f"Bar chart of {NAMES[metric]} with intervals, the best first: {figures}."


def bar_chart(rows: Sequence[ComparedRun], metric: str, width: float = _WIDTH) -> Figure:
    """Draw a bar for each run, with the run's name above it and its interval as a line.

    Bars of runs that are evaluated on training speakers are hatched. Only the end of a name that
    is longer than the figure is shown.

    Args:
        width: width of the figure in inches.
    """
    figure = Figure(figsize=(width, 1 + 0.55 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    letters = int(_LETTERS_PER_INCH * width)
    for position, row in enumerate(rows):
        value = row.metrics[metric]
        low, high = row.intervals.get(metric) or (value, value)
        axes.barh(
            position,
            value,
            0.45,
            xerr=[[max(0, value - low)], [max(0, high - value)]],
            capsize=3,
            color=COLORS[row.is_leaky],
            hatch="//" if row.is_leaky else "",
        )
        # Right of the axis, which ends at 1, the largest value that a metric can have.
        axes.text(
            1.012,
            position,
            f"{value:.3f}",
            va="center",
            fontsize=9,
            transform=axes.get_yaxis_transform(),
        )
        name = row.name
        if len(name) > letters:
            name = f"…{name[1 - letters :]}"
        # A dollar sign in a name does not start a formula.
        axes.text(0.01, position - 0.3, name, va="bottom", fontsize=9, parse_math=False)
    any_leaky = any(row.is_leaky for row in rows)
    hatched = "; hatched: evaluated on training speakers" if any_leaky else ""
    axes.set(
        xlim=(min(0, axes.get_xlim()[0]), 1),
        xlabel=textwrap.fill(f"{NAMES[metric]} (lines: intervals{hatched})", letters),
        yticks=[],
        ylim=(len(rows) - 0.6, -0.8),
    )
    return figure


def tables(comparison: Comparison) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The table of runs and the table of pairs, with formatted text in each cell."""
    return _table_of_runs(comparison), _table_of_pairs(comparison)


def published_tables(comparison: Comparison) -> dict[str, pd.DataFrame]:
    """For each published protocol its results, with formatted figures, and those of the runs.

    The keys are titles that name the protocol and the source of the figures.
    """
    shown = {}
    for results in comparison.published:
        figures = dict(results.figures)
        for row in comparison.runs:
            if row.name in results.runs:
                figures[f"{row.name} (this comparison)"] = row.metrics
        ordered = sorted(figures.items(), key=lambda item: -(item[1].get(comparison.metric) or 0))
        lines = []
        for system, metrics in ordered:
            line = {"system": system}
            for name in comparison.runs[0].metrics:
                line[NAMES[name]] = number_text(metrics.get(name), ".3f")
            lines.append(line)
        title = f"Published under {results.protocol} ({results.figures_source})"
        shown[title] = pd.DataFrame(lines)
    return shown


def _table_of_runs(comparison: Comparison) -> pd.DataFrame:
    """A line for each run, with formatted figures."""
    metric = comparison.metric
    any_noise = any(row.noise is not None for row in comparison.runs)
    lines = []
    for row in comparison.runs:
        leaky = " LEAKY" if row.protocol.leak else ""
        line = {
            "run": row.name,
            "protocol": f"{row.protocol.name} {row.protocol.sha256[:8]}{leaky}",
            "split": row.part,
            NAMES[metric]: f"{row.metrics[metric]:.3f}",
            "interval": span_text(row.intervals.get(metric)),
        }
        for name, value in row.metrics.items():
            if name != metric:
                line[NAMES[name]] = number_text(value, ".3f")
        line["sd"] = number_text(row.deviations.get(metric), ".3f")
        if any_noise:
            line["in noise"] = number_text(row.noise, ".3f")
        minutes = row.seconds and row.seconds / 60
        line |= {
            "folds": row.folds or "-",
            "seeds": row.seeds or 1,
            "parameters": number_text(row.parameters),
            "trainable": number_text(row.trainable),
            "training": f"{number_text(minutes, '.1f')} min",
        }
        lines.append(line)
    return pd.DataFrame(lines)


def _table_of_pairs(comparison: Comparison) -> pd.DataFrame:
    """A line for each pair of runs, with formatted figures."""
    lines = []
    for pair in comparison.pairs:
        compared = pair.metrics[comparison.metric]
        line = {
            "on the same clips": f"{pair.a} over {pair.b}",
            "verdict": pair.verdict,
            "difference": f"{compared.difference:+.3f}",
            "interval": span_text(compared.interval, "+.3f"),
            "p (Holm)": f"{pair.p_holm:.2g}",
        }
        lines.append(line)
    return pd.DataFrame(lines)


def paper_table(comparison: Comparison, format: str) -> str:
    """The table of runs for a paper, as ``markdown``, ``latex`` (with booktabs) or ``csv``.

    The best figure is bold if a paired test shows that this run is better than the next one, and
    if the run is not leaky.
    """
    if format == "csv":
        return _csv(comparison).rstrip()
    first_run = comparison.runs[0]
    metric = NAMES[comparison.metric]
    others = [NAMES[name] for name in first_run.metrics if name != comparison.metric]
    table = _table_of_runs(comparison)[["run", metric, "interval", *others]]
    table = table.rename(columns={"interval": f"{100 * first_run.confidence:g} % interval"})
    table["run"] = [
        f"{row.name} (knows test speakers)" if row.is_leaky else row.name for row in comparison.runs
    ]
    best_figure = table.loc[0, metric]
    table.loc[0, metric] = _PLACEHOLDER
    is_bold, note = _best(comparison)
    if format == "latex":
        caption = f"{metric} with {100 * first_run.confidence:g} % intervals. {note}"
        text = table.to_latex(
            index=False,
            escape=True,
            caption=caption.replace("%", r"\%"),
            label="tab:comparison",
            position="t",
        )
        text = centered(text)
        bold_figure = rf"\textbf{{{best_figure}}}"
    else:
        text = f"{_markdown(table)}\n{note}"
        bold_figure = f"**{best_figure}**"
    return text.replace(_PLACEHOLDER, bold_figure if is_bold else best_figure).rstrip()


def centered(latex: str) -> str:
    """Center a table in LaTeX on the page."""
    begin = "\\begin{table}[t]\n"
    return latex.replace(begin, f"{begin}\\centering\n", 1)


def _markdown(table: pd.DataFrame) -> str:
    """A table in Markdown, with special characters escaped."""
    cells = table.map(lambda cell: re.sub(r"([\\`*|<])", r"\\\1", cell)).to_numpy().tolist()
    rows = [list(table), ["---"] * len(table.columns), *cells]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _best(comparison: Comparison) -> tuple[bool, str]:
    """Whether a test shows that the first run is better than the second, and a note on the test."""
    best, second = comparison.runs[:2]
    names = {best.name, second.name}
    pair = next((pair for pair in comparison.pairs if {pair.a, pair.b} == names), None)
    if pair is None or best.is_leaky:
        return False, (
            "The best two are not compared: other clips, missing predictions, or known test "
            "speakers."
        )
    is_better = pair.verdict == f"{best.name} is better"
    result = "No difference between the best two is shown"
    if is_better:
        result = "Bold: better than the next"
    return is_better, (
        f"{result} (paired bootstrap, p = {pair.p_holm:.2g} after Holm's correction)."
    )


def _csv(comparison: Comparison) -> str:
    """The runs as CSV; each interval has a column for its lower and one for its upper end."""
    table = pd.json_normalize(comparison.to_dict()["runs"])
    for name in [name for name in table if name.startswith("intervals.")]:
        table[f"{name}.low"] = table[name].str[0]
        table[f"{name}.high"] = table[name].str[1]
        del table[name]
    return spreadsheet(table)


def spreadsheet(table: pd.DataFrame) -> str:
    """A table as CSV. Text that a spreadsheet would evaluate begins with an apostrophe."""
    return table.replace(r"^([=+\-@\t\r])", r"'\1", regex=True).to_csv(index=False)


def span_text(interval: Sequence[float] | None, form: str = ".3f") -> str:
    """An interval as text, such as ``0.512 to 0.634``; a hyphen if it is unknown."""
    return " to ".join(format(end, form) for end in interval) if interval else "-"


def number_text(number: float | None, form: str = ",") -> str:
    """A number as text; a hyphen if it is unknown."""
    return "-" if number is None else format(number, form)
