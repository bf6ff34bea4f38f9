"""ser-hf compare, rank and reproduce: compare runs with tests; run a saved recipe again."""

import logging
import os
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Exit, Option

from ..utils.errors import UserError
from .first_checks import announce, require_model, require_models
from .options import (
    Json,
    NoAudio,
    Overrides,
    Overwrite,
    Pictures,
    Private,
    Resume,
    as_json,
    require_one_of,
)
from .shell_completion import complete_run

logger = logging.getLogger(__name__)


def compare(
    runs: Annotated[
        list[str],
        Argument(
            metavar="RUN",
            help="A run, an evaluation, a sweep (its best run), a model, a Hub id or a "
            "report.json.",
            autocompletion=complete_run,
        ),
    ],
    metric: Annotated[
        Literal["uar", "wa", "macro_f1", "ccc", "pearson", "rmse"] | None,
        Option(
            help="For the order, the chart and the tests.  [default: UAR, or CCC of dimensions]"
        ),
    ] = None,
    output: Annotated[
        str | None, Option(metavar="DIR", help="Write a page, a bar chart and tables.")
    ] = None,
    format: Annotated[
        Literal["markdown", "latex", "csv"] | None,
        Option(help="Print a table for a paper, with intervals."),
    ] = None,
    pictures: Pictures = None,
    json: Json = False,
) -> None:
    """Compare runs, with tests of their differences.

    Prints a table; --output adds a page and a bar chart with intervals. In a table for a paper the
    best figure is bold if its difference from the next one is significant.

    Example: ser-hf compare runs/ravdess_crnn runs/ravdess_se_resnet --output comparison
    """
    require_one_of(json=json, format=format)
    if pictures is not None and output is None:
        raise UserError("--pictures: needs --output, the folder of the pictures")
    require_models(runs, "RUN")
    announce("compare")
    from ..experiment.compare import compare_runs
    from ..experiment.comparison_page import paper_table, published_tables, tables
    from ..report.terminal import comparison_summary, ranking_summary

    comparison = compare_runs(runs, metric=metric, output=output, pictures=pictures)
    if format is not None:
        print(paper_table(comparison, format))
        for warning in comparison.warnings:
            logger.warning("%s", warning)
        return
    if json:
        print(as_json(comparison.to_dict()))
        return
    print(comparison_summary(tables(comparison), comparison.warnings))
    if comparison.published:
        print(ranking_summary(published_tables(comparison)))
    if output is not None:
        print(f"  page: {Path(output, 'index.html').resolve().as_uri()}")


def rank(
    sources: Annotated[
        list[str],
        Argument(
            metavar="RUNS",
            help="Folders with finished runs, single runs, report.json files or Hub ids.",
            autocompletion=complete_run,
        ),
    ],
    output: Annotated[
        str, Option(metavar="DIR", help="The folder of the page and the tables.")
    ] = "ranking",
    metric: Annotated[
        Literal["uar", "wa", "macro_f1", "ccc", "pearson", "rmse"] | None,
        Option(help="For the order and the tests.  [default: UAR, or CCC of dimensions]"),
    ] = None,
    title: Annotated[str, Option(help="The title of the page.")] = (
        "Speech emotion recognition: ranking"
    ),
    repo: Annotated[
        str | None, Option(metavar="USER/NAME", help="Publish the page as a static Space.")
    ] = None,
    private: Private = False,
    pictures: Pictures = None,
    json: Json = False,
) -> None:
    """Rank all runs below a folder, split by split.

    Only runs on the same split (by its fingerprint) and with the same labels are ranked with each
    other, and only runs whose training had none of the evaluated speakers.

    Example: ser-hf rank runs --output ranking --repo USER/ser-ranking
    """
    require_models(sources, "RUNS")
    announce("rank")
    from ..experiment.ranking import rank_runs, tables
    from ..report.terminal import ranking_summary

    ranking = rank_runs(sources, metric=metric, output=output, title=title, pictures=pictures)
    if json:
        print(as_json(ranking.to_dict()))
    else:
        print(ranking_summary(tables(ranking)))
        print(f"  page: {Path(output, 'index.html').resolve().as_uri()}")
    if repo is not None:
        from ..hub.ranking_space import publish_ranking

        pushed = publish_ranking(output, repo, private=private)
        state = f"commit {pushed.commit[:10]}" if pushed.changed else "up to date, no commit"
        logger.info("%s (%s)", pushed.url, state)


def reproduce(
    source: Annotated[
        str,
        Argument(
            metavar="RUN|REPO",
            help="A run folder, a published model's folder or its Hub id.",
            autocompletion=complete_run,
        ),
    ],
    overrides: Overrides = None,
    output: Annotated[
        str | None,
        Option(
            metavar="DIR",
            help="The new run's folder.  [default: NAME-reproduced beside the run, or in runs/]",
        ),
    ] = None,
    tolerance: Annotated[
        float,
        Option(
            metavar="X",
            help="Largest difference of UAR, macro-F1 and WA that counts as reproduced.",
        ),
    ] = 0.005,
    resume: Resume = False,
    overwrite: Overwrite = False,
    no_audio: NoAudio = False,
    json: Json = False,
) -> None:
    """Rerun the recipe saved with a model, and compare.

    Places in the recipe are ignored: name a corpus outside of this folder yourself. The exit code
    is 1 if the figures are not reproduced.

    Example: ser-hf reproduce runs/ravdess_crnn corpus.root=data/RAVDESS
    """
    require_one_of(resume=resume, overwrite=overwrite)
    require_model(source, "RUN")
    announce(source)
    from ..experiment.reproduce import reproduce
    from ..report.terminal import reproduction_summary

    changes = list(overrides or ())
    if no_audio:
        changes.append("evaluation.audio=false")
    comparison = reproduce(
        source,
        changes,
        output=output,
        tolerance=tolerance,
        resume=resume,
        overwrite=overwrite,
    )
    if os.environ.get("RANK", "0") == "0":
        print(as_json(comparison) if json else reproduction_summary(comparison))
    if not comparison["reproduced"]:
        raise Exit(1)
