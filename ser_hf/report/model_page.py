"""What a page to try a model on says of the model: its main metrics, a leak, and limits."""

from ..evaluation.metrics import NAMES
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
    """State the main metrics in one sentence, with their interval and the test speakers."""
    main = f"{NAMES[report.main]} {figure(report.metrics[report.main])}"
    interval = report.intervals.get(report.main)
    if interval:
        main += f" ({100 * report.confidence:g} % interval {span(interval)})"
    beside_key = report.measured.beside[0]
    beside = f"{NAMES[beside_key]} {figure(report.metrics[beside_key])}"
    speakers = evaluated_speakers(report)
    return f"{main}, {beside} on {speakers} (protocol {report.protocol.name})."


def leak_warning(report: Report) -> str | None:
    """Explain the leak of a leaky protocol; None for another protocol."""
    if not report.protocol.leak:
        return None
    return f"Leaky protocol ({report.protocol.name}). {report.protocol.leak}"
