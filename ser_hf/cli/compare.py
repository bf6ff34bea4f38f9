"""ser-hf compare: runs side by side, and what their differences are worth."""

import argparse

from ..utils.errors import UserError

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
    parser.add_argument(
        "--repo",
        metavar="USER/NAME",
        help="pushes a page that ranks them, split by split, to a static Space on the Hub",
    )
    parser.add_argument("--private", action="store_true", help="if the Space is made, it is private")


def run(options: argparse.Namespace) -> None:
    """Compares and prints; with --output writes the files too, with --repo publishes the ranks."""
    # Imported late: `--help` must not wait for these.
    from ..experiment.compare import compare_runs
    from ..experiment.compare_page import summary

    if options.private and options.repo is None:
        raise UserError("--private: belongs to --repo")
    comparison = compare_runs(options.runs, metric=options.metric, part=options.part, output=options.output)
    print(summary(comparison))
    if options.output is not None:
        print(f"  look at it: {options.output}/index.html")
    if options.repo is not None:
        from ..hub.leaderboard import publish_leaderboard

        pushed = publish_leaderboard(comparison, options.repo, private=options.private)
        print(f"  published: {pushed.url} ({f'commit {pushed.commit[:10]}' if pushed.changed else 'no change'})")
