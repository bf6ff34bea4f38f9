"""Ranks finished runs among those on the same split, and writes the page of the ranking.

A run is ranked only if the speakers that it was evaluated on are new to it. Other runs are listed
without a rank.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from ..evaluation.metrics import NAMES, definitions, lower_is_better
from ..report.page import Picture, picture, template
from ..report.paper import COLUMN, save_pdf
from ..report.plots import svg
from ..utils.environment import __version__
from ..utils.errors import UserError
from ..utils.files import atomic_folder, write_json
from .compare import (
    BootstrapSettings,
    ComparedPair,
    ComparedRun,
    SavedRun,
    check_output,
    compared_run,
    paired_tests,
    read_run,
    runs_on_same_clips,
)
from .comparison_page import bar_chart, number_text, span_text, spreadsheet

# The files of a ranking in its folder; README.md makes the folder a static Space. The PDFs are
# bar charts, one for each split.
FILES = ("index.html", "ranking.json", "ranking.csv", "README.md", "ranking_*.pdf")
# Limits of a bar chart.
_MOST_BARS = 20
_CHART_WIDTH = 5.5  # inches
# Folders in a run's folder whose reports are copies, or are not of the run itself.
_NOT_SEARCHED = ("model", "checkpoints", "foil")


@dataclasses.dataclass(frozen=True)
class RankedRun:
    """A row of the ranking.

    Args:
        rank: from 1; None for a run that is not ranked.
        reason: why the run is not ranked.
        run: the figures of the run.
        behind_first: the result of the paired test against the first run; None for the first run,
            and for runs without predictions.
    """

    rank: int | None
    reason: str | None
    run: ComparedRun
    behind_first: str | None


@dataclasses.dataclass(frozen=True)
class RankedGroup:
    """Runs on the same split, with the same labels: the ranked runs, then the others.

    Args:
        metric: the metric of the order.
    """

    protocol: str
    sha256: str
    part: str
    labels: list[str]
    metric: str
    clips: int | None
    speakers: int | None
    runs: list[RankedRun]

    @property
    def ranked(self) -> int:
        """The number of ranked runs."""
        return sum(row.rank is not None for row in self.runs)


@dataclasses.dataclass(frozen=True)
class Ranking:
    """The content of ranking.json: groups with more ranked runs come first."""

    title: str
    groups: list[RankedGroup]
    settings: BootstrapSettings
    definitions: dict[str, str]

    @property
    def runs(self) -> int:
        """The number of runs in all groups."""
        return sum(len(group.runs) for group in self.groups)

    def to_dict(self) -> dict[str, Any]:
        """The ranking as ranking.json has it, without places on this machine."""
        content = dataclasses.asdict(self)
        for group in content["groups"]:
            for row in group["runs"]:
                del row["run"]["source"]
        return content


def rank_runs(
    sources: Sequence[str | Path],
    *,
    metric: str | None = None,
    output: str | Path | None = None,
    title: str = "Speech emotion recognition: ranking",
    pictures: Literal["pdf"] | None = None,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Ranking:
    """Rank runs among those on the same split, by its fingerprint, and with the same labels.

    Example: `ser_hf.rank_runs(["runs"], output="ranking").groups`

    Args:
        sources: run folders, report.json files, Hub ids, and folders that are searched for runs.
        metric: the metric for the order (default: the main metric of each task).
        output: a folder for the page and the tables; an earlier ranking in it is replaced. It is
            also a static Space.
        title: the title of the page.
        pictures: ``pdf`` also writes the bar charts as PDF, as wide as a column of a paper.
        resamples, confidence, seed: settings of the paired bootstrap.

    Raises:
        UserError: for a folder without a report, a run that is named twice, an unknown metric, or
            a folder `output` with other files.
    """
    if output is not None:
        check_output(Path(output), FILES, "a ranking")
    runs = _read_runs([str(source) for source in sources])
    settings = BootstrapSettings(resamples, confidence, seed)

    by_split: dict[tuple[str, ...], list[SavedRun]] = {}
    for run in runs:
        report = run.report
        key = (report.protocol.sha256, report.evaluated_split, *sorted(report.labels))
        by_split.setdefault(key, []).append(run)
    groups = [_group(group, metric, settings) for group in by_split.values()]
    groups.sort(key=lambda group: (-group.ranked, group.protocol, group.sha256))

    shown = {}
    for run in runs:
        of_task = definitions(run.report.measured)
        shown |= {name: of_task[name] for name in run.report.measured.compared}
    ranking = Ranking(title=title, groups=groups, settings=settings, definitions=shown)
    if output is not None:
        write_ranking(ranking, Path(output), pictures)
    return ranking


def _read_runs(sources: Sequence[str]) -> list[SavedRun]:
    """Read all runs, and give each a unique name."""
    places = [place for source in sources for place in _places(source)]
    runs = [read_run(place) for place in places]
    for a, b in itertools.combinations(runs, 2):
        if a.report.metrics == b.report.metrics and a.report.seconds == b.report.seconds:
            raise UserError(f"{b.source}: the same run as {a.source}; leave one of them out")
    names = _unique_names(runs)
    return [dataclasses.replace(run, name=name) for run, name in zip(runs, names, strict=True)]


def _places(source: str) -> list[str]:
    """The runs below a folder; a run, a file or a Hub id is itself the only one.

    Raises:
        UserError: for a folder without a report.
    """
    path = Path(source)
    own_reports = (path / "report" / "report.json", path / "report.json", path / "sweep.json")
    if not path.is_dir() or any(file.is_file() for file in own_reports):
        return [source]
    places = []
    for report in sorted(path.rglob("report.json")):
        folders = report.relative_to(path).parts[:-1]
        if any(name in _NOT_SEARCHED for name in folders):
            continue
        run = report.parent.parent if report.parent.name == "report" else report.parent
        places.append(str(run))
    if not places:
        raise UserError(f"{source}: contains no report.json; name a folder with finished runs")
    return places


def _unique_names(runs: Sequence[SavedRun]) -> list[str]:
    """The name of each run; runs of one recipe have the last parts of their paths instead."""
    names = [run.report.name for run in runs]
    repeated = [run for run in runs if names.count(run.report.name) > 1]
    paths = {run.source: Path(run.source).parts for run in repeated}
    depth = 1
    while len({parts[-depth:] for parts in paths.values()}) < len(paths):
        depth += 1
    return [
        "/".join(paths[run.source][-depth:]) if run.source in paths else run.report.name
        for run in runs
    ]


def _group(
    runs: Sequence[SavedRun], metric: str | None, settings: BootstrapSettings
) -> RankedGroup:
    """Rank the runs on one split."""
    first = runs[0].report
    task = first.measured
    metric = metric or task.main
    if metric not in task.compared:
        raise UserError(
            f"--metric: {metric!r} is no metric of {runs[0].source}; choose one of "
            f"{', '.join(task.compared)}"
        )
    ordered = sorted(
        runs, key=lambda run: run.report.metrics[metric], reverse=not lower_is_better(metric)
    )
    pairs = paired_tests(runs_on_same_clips(ordered), metric, settings)
    rows = [compared_run(run) for run in ordered]
    ranked = [row for row in rows if _reason_without_rank(row) is None]
    others = [row for row in rows if _reason_without_rank(row) is not None]

    table = []
    for rank, row in enumerate(ranked, start=1):
        result = None if rank == 1 else _behind_first(pairs, ranked[0].name, row.name)
        table.append(RankedRun(rank=rank, reason=None, run=row, behind_first=result))
    for row in others:
        reason = _reason_without_rank(row)
        table.append(RankedRun(rank=None, reason=reason, run=row, behind_first=None))
    return RankedGroup(
        protocol=first.protocol.name or "an unnamed protocol",
        sha256=first.protocol.sha256,
        part=first.evaluated_split,
        labels=list(first.labels),
        metric=metric,
        clips=rows[0].clips,
        speakers=rows[0].speakers,
        runs=table,
    )


def _reason_without_rank(row: ComparedRun) -> str | None:
    """Why a run has no rank; None for a run that is ranked."""
    if row.protocol.shared_speakers is None:
        return "unknown whether its training had these speakers"
    if row.is_leaky:
        return "leaky: its training had these speakers"
    return None


def _behind_first(pairs: Sequence[ComparedPair], first: str, name: str) -> str | None:
    """The result of the paired test against the first run; None if there is no such test."""
    for pair in pairs:
        if {pair.a, pair.b} == {first, name}:
            shown = "shown" if pair.verdict == f"{first} is better" else "not shown"
            return f"{shown} (p = {pair.p_holm:.2g})"
    return None


def write_ranking(ranking: Ranking, folder: Path, pictures: Literal["pdf"] | None = None) -> None:
    """Write the page, ranking.json, ranking.csv and the card of a static Space to a folder.

    Args:
        pictures: ``pdf`` also writes the bar chart of each split, in the order of the page.
    """
    with atomic_folder(folder, "--output") as partial:
        charts = [_chart(group) for group in ranking.groups]
        if pictures == "pdf":
            for number, group in enumerate(ranking.groups, start=1):
                chart = bar_chart(_charted(group), group.metric, COLUMN)
                save_pdf(chart, partial / f"ranking_{number}.pdf")
        page = template(__package__, "ranking.html", interval=span_text, number=number_text).render(
            ranking=ranking, charts=charts, names=NAMES, version=__version__
        )
        (partial / "index.html").write_text(page, encoding="utf-8")
        write_json(partial / "ranking.json", ranking.to_dict())
        (partial / "ranking.csv").write_text(_csv(ranking), encoding="utf-8")
        (partial / "README.md").write_text(_card(ranking), encoding="utf-8")


def _charted(group: RankedGroup) -> list[ComparedRun]:
    """The first runs of a split, which its bar chart shows."""
    return [row.run for row in group.runs[:_MOST_BARS]]


def _chart(group: RankedGroup) -> Picture:
    """The bar chart of a split, for the page."""
    runs = _charted(group)
    drawing = bar_chart(runs, group.metric, _CHART_WIDTH)
    figures = ", ".join(f"{run.name} {run.metrics[group.metric]:.3f}" for run in runs)
    alt = f"Bar chart of {NAMES[group.metric]} with intervals: {figures}."
    return picture(alt, svg(drawing), drawing.get_size_inches())


def tables(ranking: Ranking) -> dict[str, pd.DataFrame]:
    """A table for each split, with formatted text in each cell: {heading: table}."""
    table_of_heading = {}
    for group in ranking.groups:
        lines = []
        for row in group.runs:
            line = {
                "rank": row.rank or "-",
                "run": row.run.name,
                NAMES[group.metric]: f"{row.run.metrics[group.metric]:.3f}",
                "interval": span_text(row.run.intervals.get(group.metric)),
                "behind the first": row.behind_first or row.reason or "-",
            }
            lines.append(line)
        part = "" if group.part == "test" else f", evaluated on {group.part}"
        heading = f"{group.protocol}, split {group.sha256[:16]}{part}, {len(group.labels)} labels"
        table_of_heading[heading] = pd.DataFrame(lines)
    return table_of_heading


def _csv(ranking: Ranking) -> str:
    """The ranking as CSV, one line a run."""
    lines = []
    for group in ranking.groups:
        for row in group.runs:
            run = row.run
            low, high = run.intervals.get(group.metric) or (None, None)
            line = {
                "protocol": group.protocol,
                "split_sha256": group.sha256,
                "part": group.part,
                "rank": row.rank,
                "run": run.name,
                "not_ranked_because": row.reason,
            }
            line |= {name: run.metrics.get(name) for name in ranking.definitions}
            line |= {
                "interval_low": low,
                "interval_high": high,
                "clips": run.clips,
                "speakers": run.speakers,
                "folds": run.folds,
                "seeds": run.seeds,
                "parameters": run.parameters,
                "trainable": run.trainable,
                "training_seconds": run.seconds,
            }
            lines.append(line)
    # Whole numbers stay whole where some runs have none.
    return spreadsheet(pd.DataFrame(lines).convert_dtypes())


def _card(ranking: Ranking) -> str:
    """The text of README.md, the card of a static Space."""
    from huggingface_hub import SpaceCardData

    data = SpaceCardData(
        title=ranking.title,
        emoji="📊",
        colorFrom="blue",
        colorTo="gray",
        sdk="static",
        app_file="index.html",
        tags=["speech-emotion-recognition", "leaderboard", "ser_hf"],
        short_description="Speech emotion recognizers, ranked by split",
    )
    return (
        f"---\n{data.to_yaml()}\n---\n\n# {ranking.title}\n\n"
        "Runs are ranked among those on the same split only, by its fingerprint. All figures: "
        "[ranking.json](ranking.json), [ranking.csv](ranking.csv).\n"
    )
