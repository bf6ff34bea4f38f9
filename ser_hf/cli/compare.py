"""ser-hf compare and reproduce: a table of runs with tests of their differences; a saved recipe
rerun.
"""

import logging
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from typer import Argument, Exit, Option

from ..utils.errors import printable
from .options import Json, Overrides, Overwrite, Resume, as_json, require_one_of

logger = logging.getLogger(__name__)


def compare(
    runs: Annotated[
        list[str],
        Argument(
            metavar="RUN",
            help="A run, an evaluation, a sweep (its best run), a model, a Hub id or a report.json.",
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
    json: Json = False,
) -> None:
    """Compare runs, with tests of their differences.

    Prints a table; --output adds a page and a bar chart with intervals. In a table for a paper the
    best figure is bold if its difference from the next one is significant.

    Example: ser-hf compare runs/ravdess_crnn runs/ravdess_se_resnet --output comparison
    """
    require_one_of(json=json, format=format)
    from ..experiment.compare import compare_runs
    from ..experiment.comparison_page import paper_table, summary

    comparison = compare_runs(runs, metric=metric, output=output)
    if format is not None:
        print(paper_table(comparison, format))
        for warning in comparison["warnings"]:
            logger.warning("%s", warning)
        return
    page = "" if output is None else f"\n  page: {Path(output, 'index.html').resolve().as_uri()}"
    print(as_json(comparison) if json else summary(comparison) + page)


def reproduce(
    source: Annotated[
        str,
        Argument(
            metavar="RUN|REPO", help="A run folder, a published model's folder or its Hub id."
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
    json: Json = False,
) -> None:
    """Rerun the recipe saved with a model, and compare.

    Places in the recipe are ignored: name a corpus outside of this folder yourself. The exit code
    is 1 if the figures are not reproduced.

    Example: ser-hf reproduce runs/ravdess_crnn corpus.root=data/RAVDESS
    """
    require_one_of(resume=resume, overwrite=overwrite)
    from ..experiment.reproduce import reproduce

    comparison = reproduce(
        source,
        overrides or [],
        output=output,
        tolerance=tolerance,
        resume=resume,
        overwrite=overwrite,
    )
    if os.environ.get("RANK", "0") == "0":
        print(as_json(comparison) if json else summary(comparison))
    if not comparison["reproduced"]:
        raise Exit(1)


def summary(comparison: dict[str, Any]) -> str:
    """The comparison for the terminal: protocol first, figures, causes, and the verdict last."""
    import pandas as pd

    protocol = comparison["protocol"]
    sha256 = protocol["sha256"]
    same = {
        True: "the same samples and labels",
        False: "OTHER SAMPLES, LABELS OR SPEAKERS under the same ids",
    }
    content = same.get(protocol["clips"]["equal"], "their content was not recorded")
    state = f"the same clips in the same splits (sha256 {sha256['now'][:16]}), {content}"
    if not sha256["equal"]:
        state = f"ANOTHER SPLIT (sha256 {sha256['saved'][:16]} then, {sha256['now'][:16]} now)"
    lines = [
        "",
        f"{comparison['name']}: {comparison['source']} rerun",
        f"  protocol {protocol['name']}: {state}",
    ]
    for of in ("recipe", "environment"):
        lines += [
            f"  another {of}: {key} {own['saved']} -> {own['now']}"
            for key, own in comparison[of].items()
        ]
    if comparison["incomparable"]:
        lines.append(f"  figures cannot be compared: {'; '.join(comparison['incomparable'])}")
    else:
        lines.append(
            pd.DataFrame(comparison["figures"]).to_string(index=False, float_format="{:.4f}".format)
        )
        lines += [f"  measured in the saved run only: {name}" for name in comparison["missing"]]
        if comparison["predictions"] is not None:
            lines.append(
                f"  same predicted class: {100 * comparison['predictions']:.4g} % of the clips"
            )
    written = f"written to {comparison['output_dir']}/report/reproduction.json"
    lines.append(f"  {written if comparison['trained'] else 'nothing was trained or written'}")
    return "\n".join(
        printable(line) for part in [*lines, comparison["verdict"]] for line in part.split("\n")
    )
