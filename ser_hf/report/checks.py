"""Checks that the sections of a report fit together.

A report may be edited or written by other programs; pages and cards show only a consistent one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..evaluation.metrics import METRICS
from ..evaluation.sections import CorpusScores, Counts, Pooled
from .sections import Run

if TYPE_CHECKING:
    from .report import Report


def problem_of(report: "Report") -> str | None:
    """The first problem of a report, with the key concerned; None if there is no problem."""
    for check in _CHECKS:
        problem = check(report)
        if problem is not None:
            return problem
    return None


def _labels(report: "Report") -> str | None:
    labels = report.labels
    if labels and len(set(labels)) == len(labels):
        return None
    return "labels: expected at least one, each once"


def _confusion(report: "Report") -> str | None:
    size = len(report.labels)
    matrices = [report.confusion, *(corpus.confusion for corpus in report.corpora.values())]
    if report.perceived:
        matrices.append(report.perceived.counts)
    if not report.measured.one_label:
        matrices = [counts for counts in matrices if counts]
    if all(_is_square(counts, size) for counts in matrices):
        return None
    return f"confusion: expected {size} rows of {size} counts, one for each label"


def _is_square(counts: Counts, size: int) -> bool:
    return [len(row) for row in counts] == [size] * size


def _per_class(report: "Report") -> str | None:
    names = set(report.per_class)
    for corpus in report.corpora.values():
        names |= set(corpus.per_class)
    if names <= set(report.labels):
        return None
    return "per_class: contains a label that is not in labels"


def _per_dimension(report: "Report") -> str | None:
    expected = report.labels if _predicts_dimensions(report) else list(report.ranges)
    if list(report.per_dimension) == expected:
        return None
    return "per_dimension: expected the dimensions of labels"


def _class_distribution(report: "Report") -> str | None:
    splits = (report.class_distribution or {}).values()
    if all(list(clips) == report.labels for clips in splits):
        return None
    return "class_distribution: expected labels as keys"


def _metrics(report: "Report") -> str | None:
    if not set(report.metrics) <= set(METRICS):
        return "metrics: contains an unknown metric"
    needed = report.measured.headline[:3]
    sections: list[Report | CorpusScores | Run | Pooled] = [report]
    sections += [*report.corpora.values(), *report.runs.values()]
    if report.pooled:
        sections.append(report.pooled)
    for section in sections:
        if any(section.metrics.get(name) is None for name in needed):
            return f"metrics: expected {', '.join(needed)}, for each run and corpus too"
    return None


def _calibration(report: "Report") -> str | None:
    if not report.calibration:
        return None
    means = []
    for probability_bin in report.calibration.bins:
        if probability_bin.clips:
            means += [probability_bin.confidence, probability_bin.accuracy]
    if means and None not in means:
        return None
    return "calibration: expected a confidence and an accuracy for each bin with clips"


def _history(report: "Report") -> str | None:
    shown = (report.main, report.measured.beside[0])
    selected_by = report.selected_by or report.main
    if all(_has_curves(entry, shown, selected_by) for entry in report.history):
        return None
    return "history: expected a number for epoch, loss and each metric"


def _has_curves(entry: Mapping[str, Any], shown: Sequence[str], selected_by: str) -> bool:
    """Whether an entry of the history has the numbers of the training curves."""
    numbers = [entry.get("epoch"), entry.get("train_loss", 0.0)]
    numbers += _numbers(entry.get("train"), shown)
    numbers += _numbers(entry.get("validation"), (*shown, "loss", selected_by))
    folds = entry.get("folds") or []
    numbers += folds if isinstance(folds, list) else [None]
    return all(isinstance(number, int | float) for number in numbers)


def _numbers(scores: Any, names: Iterable[str]) -> list[Any]:
    """The scores with these names; empty if the split was not measured."""
    if not scores:
        return []
    if not isinstance(scores, dict):
        return [None]
    return [scores.get(name) for name in names]


def _chosen(report: "Report") -> str | None:
    numbers = [report.chosen_fold, report.chosen_seed]
    if all(number is None or str(number) in report.runs for number in numbers):
        return None
    return "chosen_fold or chosen_seed: there is no such run"


def _runs(report: "Report") -> str | None:
    if all(number.isdecimal() for number in report.runs):
        return None
    return "folds or seeds: expected numbers as keys"


def _foil(report: "Report") -> str | None:
    if not report.foil:
        return None
    measured_under_both = {*report.foil.metrics} & {*report.foil.against}
    if {*report.foil.gap} <= measured_under_both and report.main in report.foil.gap:
        return None
    return "foil or perceived: the compared metrics differ"


def _perceived(report: "Report") -> str | None:
    perceived = report.perceived
    if not perceived or {*perceived.metrics} <= {*perceived.same_clips}:
        return None
    return "foil or perceived: the compared metrics differ"


def _slices(report: "Report") -> str | None:
    if not report.measured.one_label:
        return None
    for groups in report.slices.values():
        if any(getattr(row, report.main) is None for row in groups.values()):
            return "slices: expected the UAR of each group"
    return None


def _gaps(report: "Report") -> str | None:
    for name, gap in (report.gaps or {}).items():
        if not {gap.best, gap.worst} <= set(report.slices.get(name, ())):
            return "gaps: names a group that has no results"
    return None


def _predicts_dimensions(report: "Report") -> bool:
    return report.measured.problem_type == "regression"


# The order matters: later checks rely on earlier checks.
_CHECKS: tuple[Callable[["Report"], str | None], ...] = (
    _labels,
    _confusion,
    _per_class,
    _per_dimension,
    _class_distribution,
    _metrics,
    _calibration,
    _history,
    _chosen,
    _runs,
    _foil,
    _perceived,
    _slices,
    _gaps,
)
