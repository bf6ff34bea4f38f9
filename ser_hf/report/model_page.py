"""What a page to try a model on says of the model: its main metrics, a leak, and limits."""

from ..evaluation.metrics import NAMES
from ..evaluation.tasks import DIMENSIONS
from .report import Report
from .views import evaluated_speakers, figure, span

LIMITS = [
    "Its model card describes its training data and how well it performs. Expect lower accuracy on "
    "other speakers, languages, telephones and noise.",
    "A voice does not prove a feeling: do not make decisions about people from these predictions. "
    "In the European Union, inferring emotions at work and in education is prohibited except for "
    "medical or safety reasons (Regulation (EU) 2024/1689, article 5(1)(f)); elsewhere the people "
    "exposed to it must be informed (article 50(3)).",
]


def headline(report: Report) -> str:
    """State the main metrics in one sentence, with their interval and the test speakers.

    A model of labels and ratings has the main metric of both.
    """
    figures = [_with_interval(report, report.main)]
    beside = report.measured.beside[0]
    figures.append(f"{NAMES[beside]} {figure(report.metrics[beside])}")
    if report.measured.has_ratings and report.main != DIMENSIONS.main:
        figures.append(_with_interval(report, DIMENSIONS.main))
    speakers = evaluated_speakers(report)
    return f"{', '.join(figures)} on {speakers} (protocol {report.protocol.name})."


def _with_interval(report: Report, metric: str) -> str:
    """A metric in words, with its interval if there is one."""
    words = f"{NAMES[metric]} {figure(report.metrics[metric])}"
    interval = report.intervals.get(metric)
    if interval is None:
        return words
    return f"{words} ({100 * report.confidence:g} % interval {span(interval)})"


def leak_warning(report: Report) -> str | None:
    """Explain the leak of a leaky protocol; None for another protocol."""
    if not report.protocol.leak:
        return None
    return f"Leaky protocol ({report.protocol.name}). {report.protocol.leak}"
