"""A report as HTML for a notebook: figures with intervals, the confusion matrix, and notes."""

import base64
import html

from ..evaluation.metrics import METRICS, NAMES
from .plots import confusion_figure, svg
from .report import Report
from .views import confidence, evaluated_speakers, figure, span


def report_html(report: Report) -> str:
    """The report as HTML without scripts; the page of the run has everything else."""
    speakers = html.escape(evaluated_speakers(report))
    parts = [
        f"<p><b>{html.escape(report.name)}</b>: {NAMES[report.main]} "
        f"<b>{figure(report.metrics[report.main])}</b> on {speakers} "
        f"({confidence(report)} interval {span(report.intervals.get(report.main))}), "
        f"protocol {html.escape(report.protocol.name)}</p>"
    ]
    rows = []
    for key in report.measured.headline:
        name = f"{NAMES[key]} {METRICS[key].unit}".rstrip()
        rows.append([name, figure(report.metrics[key]), span(report.intervals.get(key))])
    parts.append(_table(["metric", "value", "interval"], rows))
    if report.per_dimension:
        rows = []
        for name, scores in report.per_dimension.items():
            rows.append([name, figure(scores.ccc), span(scores.ccc_interval)])
        parts.append(_table(["dimension", "CCC", "interval"], rows))
    if report.confusion:
        drawing = confusion_figure({"Confusion matrix": report.confusion}, report.labels)
        data = base64.b64encode(svg(drawing)).decode()
        parts.append(f'<img alt="Confusion matrix" src="data:image/svg+xml;base64,{data}">')
    notes = [*report.protocol.notes, *report.warnings]
    if report.protocol.leak:
        notes.insert(0, f"LEAKY: {report.protocol.leak}")
    if notes:
        items = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
        parts.append(f"<ul>{items}</ul>")
    return "\n".join(parts)


def _table(header: list[str], rows: list[list[str]]) -> str:
    """A table as HTML."""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    lines = [f"<tr>{head}</tr>"]
    for row in rows:
        cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in row)
        lines.append(f"<tr>{cells}</tr>")
    return f"<table>{''.join(lines)}</table>"
