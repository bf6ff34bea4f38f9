"""ser-hf compare: a table of runs, and tests of their differences."""

import argparse

EXAMPLE = "ser-hf compare runs/ravdess_crnn runs/ravdess_se_resnet --output comparison"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs",
        nargs="*",
        metavar="RUN",
        help="the folder of a run, of a sweep (its winner) or of a published model, a Hub id, or a report.json",
    )
    parser.add_argument(
        "--metric",
        choices=("uar", "wa", "macro_f1"),
        default="uar",
        help="for the order, the bar chart and the tests (default: %(default)s)",
    )
    parser.add_argument(
        "--part", choices=("test", "validation"), help="the split (default: the one that each run was evaluated on)"
    )
    parser.add_argument("--output", metavar="DIR", help="write a page, a bar chart (PNG, SVG) and tables (CSV, JSON)")


def run(options: argparse.Namespace) -> None:
    """Prints the comparison; with --output writes its files, too."""
    # Imported late, so that `--help` is fast.
    from ..experiment.compare import compare_runs
    from ..experiment.compare_page import summary

    comparison = compare_runs(options.runs, metric=options.metric, part=options.part, output=options.output)
    print(summary(comparison))
    if options.output is not None:
        print(f"  page: {options.output}/index.html")
