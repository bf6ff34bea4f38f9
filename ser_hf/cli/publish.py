"""ser-hf publish: publishes a finished run on the Hub, with a round trip before and after."""

import argparse
import dataclasses

from ..utils.errors import UserError

EXAMPLE = "ser-hf publish runs/ravdess_crnn --repo USER/ravdess-crnn --report-repo USER/ravdess-crnn-report --space"
INTERRUPTED = "; the Hub keeps what has arrived, and the same command continues"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a finished run's folder (output_dir)")
    parser.add_argument(
        "--repo",
        metavar="USER/NAME",
        help="of the model; NAME alone is yours (default: the section hub of its recipe)",
    )
    parser.add_argument(
        "--private", action="store_true", help="create private repositories; existing ones stay as they are"
    )
    parser.add_argument(
        "--report-repo", metavar="USER/NAME", help="a data set for the report: page, predictions, scores, slices"
    )
    parser.add_argument(
        "--space",
        nargs="?",
        const=True,
        default=False,
        metavar="USER/NAME",
        help="a Gradio demo of the model (default: under the model's name)",
    )
    parser.add_argument(
        "--benchmark", metavar="USER/NAME[:TASK]", help="a data set whose leaderboard shows the headline metric (beta)"
    )


def run(options: argparse.Namespace) -> None:
    """Publishes, and prints the addresses."""
    # Imported late: `--help` must not wait for these.
    from ..experiment.recipe_checks import read_recipe
    from ..hub.publish import publish
    from ..utils.run_folder import RunFolder

    if options.repo is None:
        recipe = RunFolder(options.run).recipe
        hub = read_recipe(recipe).hub if recipe.is_file() else None
        if hub is None or hub.repo is None:
            raise UserError("--repo: missing, and the recipe of the run has no hub.repo")
        if options.private or options.report_repo or options.space or options.benchmark:
            raise UserError("--repo: missing; without it the section hub of the run's recipe decides everything")
        print(publish(options.run, **dataclasses.asdict(hub)))
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
