"""Reports in a notebook: figures, confusion matrix and notes as HTML without scripts."""

from support.reports import typed, whole_report


def test_a_report_shows_figures_matrix_and_notes():
    report = typed(whole_report())
    shown = report._repr_html_()
    assert f"<b>{report.name}</b>" in shown
    assert f"{report.metrics['uar']:.3f}" in shown
    assert "data:image/svg+xml;base64," in shown
    assert shown.count("<li>") >= len(report.warnings) > 0
    assert "<script" not in shown


def test_names_are_escaped():
    report = typed(whole_report(name="<b>a & b</b>"))
    assert "&lt;b&gt;a &amp; b&lt;/b&gt;" in report._repr_html_()
