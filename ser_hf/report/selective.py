"""Texts about unknown predictions and adaptation, for pages, cards and the terminal."""

from ..evaluation.metrics import NAMES
from ..evaluation.sections import Abstention, RiskPoint
from .report import Report
from .views import confidence, counted, figure, listed, run_kind, signed, span


def percent(value: float | None) -> str:
    """A share in percent; a dash for an undefined one."""
    return "–" if value is None else f"{100 * value:.1f} %"


# The table of the risk-coverage curve has about this number of points.
_SHOWN_RISKS = 20


def shown_risks(report: Report) -> list[RiskPoint]:
    """Points of the risk-coverage curve for a table, evenly spread, with the last one."""
    curve = report.abstention.curve
    step = max(1, len(curve) // _SHOWN_RISKS)
    return curve[::-1][::step][::-1]


def risk_in_words(report: Report) -> str:
    """The risk-coverage curve in words, the alternative text of its picture."""
    curve = report.abstention.curve
    half = min(curve, key=lambda point: abs(point.coverage - 0.5))
    return (
        f"Risk-coverage curve: {percent(curve[-1].error)} of all predictions are wrong, and "
        f"{percent(half.error)} of the most confident {percent(half.coverage)}"
    )


def abstention(report: Report) -> str:
    """Sentences about the threshold of predictions, and the errors that it leaves."""
    section = report.abstention
    sentences = [f"{risk_in_words(report)}. Area under the curve (AURC): {figure(section.aurc)}."]
    if section.stated_error is not None:
        sentences.append(_threshold_sentence(report, section))
    elif section.threshold is not None:
        sentences.append(f"The model stores the threshold {figure(section.threshold)}.")
    accepted = section.evaluated
    if accepted is not None:
        sentence = (
            f"On the {report.evaluated_split} split {percent(accepted.coverage)} of the clips are "
            "predicted"
        )
        if accepted.error is not None:
            sentence += f", {percent(accepted.error)} of them wrongly"
        if accepted.error_interval:
            low, high = map(percent, accepted.error_interval)
            sentence += f" ({confidence(report)} interval over speakers {low} to {high})"
        sentences.append(f"{sentence}; the others are better called unknown.")
        if (
            section.stated_error is not None
            and accepted.error is not None
            and accepted.error > section.stated_error
        ):
            sentences.append("The stated error is exceeded on these speakers.")
    return " ".join(sentences)


def _threshold_sentence(report: Report, section: Abstention) -> str:
    """The sentence about the threshold that keeps the stated error, or that none does."""
    stated = percent(section.stated_error)
    if section.thresholds is not None:
        values = [figure(value) for value in section.thresholds.values() if value is not None]
        missing = len(section.thresholds) - len(values)
        if not values:
            return f"No threshold keeps an error of {stated} on the validation speakers."
        sentence = (
            f"Thresholds that keep an error of {stated} on the validation speakers of each "
            f"{run_kind(report)}: {listed(values)}"
        )
        if missing:
            sentence += f"; {counted(missing, run_kind(report))} without one"
        return f"{sentence}."
    if section.threshold is None:
        return f"No threshold keeps an error of {stated} on the validation speakers."
    return (
        f"Predictions with a probability of at least {figure(section.threshold)} keep an error of "
        f"{stated} on the validation speakers; the published model stores this threshold."
    )


def abstained(report: Report) -> list[str]:
    """A line about the threshold, if the report has one."""
    section = report.abstention
    if section is None or section.stated_error is None:
        return []
    line = f"unknown: {_threshold_sentence(report, section).rstrip('.')}"
    accepted = section.evaluated
    if accepted is not None:
        line += (
            f"; {report.evaluated_split}: {percent(accepted.coverage)} predicted, "
            f"{percent(accepted.error)} of them wrongly"
        )
    return [line]


def adaptation(report: Report) -> str:
    """Sentences about the adaptation to groups of clips, and what its figures compare with."""
    section = report.adaptation
    groups = f"{section.adapted_groups} of {counted(section.groups, section.grouping)}"
    change = ""
    if section.difference is not None:
        change = f" {NAMES[report.main]} changes by {signed(section.difference)}"
        if section.difference_interval:
            change += f" ({confidence(report)} interval {span(section.difference_interval)})"
        change += "."
    return (
        f"The embeddings of {groups} were moved to the statistics of the training speakers, "
        f"without labels.{change} These figures are transductive: a prediction depends on the "
        f"other clips of the same {section.grouping}, and clips with other shares of emotions "
        "have other figures."
    )


def adapted(report: Report) -> list[str]:
    """A line with the main metric without and with adaptation, if it was evaluated."""
    section = report.adaptation
    if section is None:
        return []
    name = NAMES[report.main]
    return [
        f"adapted to each {section.grouping} without labels (transductive): {name} "
        f"{figure(report.metrics[report.main])} without, "
        f"{figure(section.metrics[report.main])} with"
    ]
