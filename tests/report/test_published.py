"""The place of a run among the results that others published under its protocol."""

from types import SimpleNamespace

from ser_hf.report.published import published_line, published_rows


def report(uar, *published):
    figures = [
        SimpleNamespace(system=system, metrics={"uar": value}, parameters=None, note=None)
        for system, value in published
    ]
    section = SimpleNamespace(protocol="five folds", figures=figures) if published else None
    return SimpleNamespace(
        name="mine",
        metrics={"uar": uar},
        model=SimpleNamespace(parameters=1000),
        protocol=SimpleNamespace(published=section),
    )


def test_rows_are_sorted_by_their_uar():
    rows = published_rows(report(0.65, ("small", 0.6), ("large", 0.8)))
    assert [row.system for row in rows] == ["large", "mine, this run", "small"]
    assert [row.own for row in rows] == [False, True, False]


def test_the_line_names_the_neighbors():
    between = report(0.65, ("small", 0.6), ("large", 0.8))
    assert published_line(between) == [
        "published under five folds: this run is below large (0.800) and above small (0.600)"
    ]
    best = report(0.9, ("small", 0.6), ("large", 0.8))
    assert published_line(best) == ["published under five folds: this run is above large (0.800)"]


def test_without_published_results_there_is_no_line():
    assert published_line(report(0.65)) == []
