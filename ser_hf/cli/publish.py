"""ser-hf publish: a finished run onto the Hub, looked at from outside before and after."""

import argparse

from ..utils.errors import UserError

EXAMPLE = "ser-hf publish runs/ravdess_crnn --repo USER/ravdess-crnn --report-repo USER/ravdess-crnn-report --space"
INTERRUPTED = "; what has arrived is kept on the Hub, the same command goes on"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a finished run's folder (output_dir)")
    parser.add_argument(
        "--repo",
        metavar="USER/NAME",
        help="of the model; NAME alone is yours (default: what its recipe says under hub, with all that stands there)",
    )
    parser.add_argument("--private", action="store_true", help="what is made is private; what exists stays as it is")
    parser.add_argument(
        "--report-repo", metavar="USER/NAME", help="a data set for the report: page, predictions, scores, slices"
    )
    parser.add_argument(
        "--space",
        nargs="?",
        const=True,
        default=False,
        metavar="USER/NAME",
        help="a Gradio page to try the model on (default: under the model's name)",
    )
    parser.add_argument(
        "--benchmark", metavar="USER/NAME[:TASK]", help="a data set whose leaderboard is to show the headline (beta)"
    )


def run(options: argparse.Namespace) -> None:
    """Publishes, and prints where everything is."""
    # Imported late: `--help` must not wait for these.
    from ..experiment.recipe_checks import read_recipe
    from ..hub.publish import publish
    from ..utils.run_folder import RunFolder

    if options.repo is None:
        recipe = RunFolder(options.run).recipe
        hub = read_recipe(recipe).hub if recipe.is_file() else None
        if hub is None or hub.repo is None:
            raise UserError("--repo: missing, and no recipe of the run says where (hub.repo)")
        if options.private or options.report_repo or options.space or options.benchmark:
            raise UserError("--repo: missing; without it all is published as the run's recipe says under hub")
        print(publish(options.run, **hub.publication))
        return
    benchmark, _, task = (options.benchmark or "").partition(":")
    print(
        publish(
            options.run,
            options.repo,
            private=options.private,
            report_repo=options.report_repo,
            space=options.space,
            benchmark=benchmark or None,
            benchmark_task=task or "default",
        )
    )
