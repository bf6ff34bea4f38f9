"""ser-hf compare: runs side by side, and what their differences are worth."""

import argparse

EXAMPLE = "ser-hf compare runs/ravdess_crnn runs/ravdess_se_resnet --output comparison"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs",
        nargs="*",
        metavar="RUN",
        help="a run's folder, a sweep's (its winner), a model's as published, a Hub id, or a report.json",
    )
    parser.add_argument(
        "--metric",
        choices=("uar", "wa", "macro_f1"),
        default="uar",
        help="what is sorted by, drawn and tested (default: %(default)s)",
    )
    parser.add_argument(
        "--part", choices=("test", "validation"), help="judged clips (default: those that each run was judged on)"
    )
    parser.add_argument("--output", metavar="DIR", help="writes a page, a bar chart (PNG, SVG) and tables (CSV, JSON)")


def run(options: argparse.Namespace) -> None:
    """Compares and prints; with --output writes the files too."""
    # Imported late: `--help` must not wait for these.
    from ..run_comparison import compare_runs
    from ..run_comparison.text import summary

    comparison = compare_runs(options.runs, metric=options.metric, part=options.part, output=options.output)
    print(summary(comparison))
    if options.output is not None:
        print(f"  look at it: {options.output}/index.html")
