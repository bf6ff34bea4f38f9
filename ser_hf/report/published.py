"""Results that others published under the protocol of a report, beside the report's own."""

import dataclasses
from collections.abc import Mapping

from .report import Report
from .views import figure


@dataclasses.dataclass(frozen=True)
class PublishedRow:
    """A line of the table of published results; `own` marks this run."""

    system: str
    metrics: Mapping[str, float | None]
    parameters: int | None
    note: str | None
    own: bool = False


def published_rows(report: Report) -> list[PublishedRow]:
    """This run and the results that others published under its protocol, the highest UAR first."""
    section = report.protocol.published
    rows = [
        PublishedRow(result.system, result.metrics, result.parameters, result.note)
        for result in section.figures
    ]
    own_name = f"{report.name}, this run"
    own_row = PublishedRow(own_name, report.metrics, report.model.parameters, None, own=True)
    return sorted([*rows, own_row], key=lambda row: -(row.metrics.get("uar") or 0.0))


def published_line(report: Report) -> list[str]:
    """A line that compares this run with published results, if there are any."""
    section = report.protocol.published
    if section is None:
        return []
    rows = published_rows(report)
    position = next(number for number, row in enumerate(rows) if row.own)
    neighbors = []
    if position > 0:
        above = rows[position - 1]
        neighbors.append(f"below {above.system} ({figure(above.metrics['uar'])})")
    if position + 1 < len(rows):
        below = rows[position + 1]
        neighbors.append(f"above {below.system} ({figure(below.metrics['uar'])})")
    return [f"published under {section.protocol}: this run is {' and '.join(neighbors)}"]
