"""ser-hf compare: a table of runs, and tests of their differences."""

from typing import Annotated, Literal

from typer import Argument, Option


def compare(
    runs: Annotated[
        list[str],
        Argument(
            metavar="RUN",
            help="The folder of a run, an evaluation, a sweep (its best run) or a published model, a Hub id, or a "
            "report.json.",
        ),
    ],
    metric: Annotated[
        Literal["uar", "wa", "macro_f1"], Option(help="For the order, the chart and the tests.")
    ] = "uar",
    output: Annotated[str | None, Option(metavar="DIR", help="Write a page, a bar chart and tables.")] = None,
) -> None:
    """Compare runs, with tests of their differences.

    Prints a table; --output adds a page and a bar chart with intervals.

    Example: ser-hf compare runs/ravdess_crnn runs/ravdess_se_resnet --output comparison
    """
    from ..experiment.compare import compare_runs, summary

    print(summary(compare_runs(runs, metric=metric, output=output)))
    if output is not None:
        print(f"  page: {output}/index.html")
