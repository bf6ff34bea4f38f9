"""ser-hf train: run a recipe, as python -m ser_hf.train does. ser-hf schema: the JSON schema of
recipes.
"""

import logging
import os
import shutil
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from ..train import run_recipe
from .options import Json, Overrides, Overwrite, RecipeFile, Resume, as_json, require_one_of

if TYPE_CHECKING:
    from ..report.report import Report

logger = logging.getLogger(__name__)


def train(
    recipe: RecipeFile,
    overrides: Overrides = None,
    output: Annotated[
        str | None, Option(metavar="DIR", help="The recipe's output_dir.  [default: runs/NAME]")
    ] = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Check it and show what it needs; train nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Train and evaluate a model as a recipe describes.

    Writes the model with its card and a report.

    Example: ser-hf train quickstart training.num_train_epochs=5
    """
    require_one_of(resume=resume, overwrite=overwrite)
    require_one_of(json=json, dry_run=dry_run)
    changes = [*(overrides or ()), *([f"output_dir={output}"] if output else [])]
    from ..experiment.recipe import recipe_file

    if os.path.isfile(recipe_file(recipe)):
        logger.info("%s: loading libraries", recipe)  # which takes seconds
    if dry_run:
        from ..experiment.plan import plan_run
        from ..experiment.recipe_checks import read_recipe

        print(plan_run(read_recipe(recipe, changes)))
        return
    report = run_recipe(recipe, changes, resume=resume, overwrite=overwrite)
    if os.environ.get("RANK", "0") == "0":
        print(as_json(report.to_dict()) if json else summary(report))


def recipes(
    name: Annotated[str | None, Argument(metavar="NAME", help="Print this one.")] = None,
) -> None:
    """List the recipes that come with the package, or print one.

    Example: ser-hf recipes quickstart > my.yaml
    """
    from ..experiment.recipe import built_in_recipes, recipe_file

    if name is not None:
        print(recipe_file(name).read_text(encoding="utf-8"), end="")
        return
    columns = shutil.get_terminal_size().columns
    for key, file in built_in_recipes().items():
        about = file.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        print(
            textwrap.fill(about, columns, initial_indent=f"{key:<30}", subsequent_indent=" " * 30)
        )


def schema() -> None:
    """Print the JSON schema of recipes.

    Editors complete and check recipes by it.

    Example: ser-hf schema > recipe.schema.json
    """
    from pydantic import TypeAdapter

    from ..experiment.recipe import Recipe

    print(as_json(TypeAdapter(Recipe).json_schema()))


def summary(report: "Report") -> str:
    """The headline with its interval, protocol and leak, foil, the report page and how to load the
    model.
    """
    from ..evaluation.metrics import NAMES
    from ..report.views import confidence, degraded, evaluated_speakers, figure, selection, span

    metrics = report.metrics
    protocol = report.protocol
    main = report.main
    others = report.measured.headline[1:]
    name = NAMES[main]
    runs = f", mean of {len(report.seeds)} seeds" if report.seeds else ""
    if protocol.folds:
        runs = f", mean of {len(protocol.folds)} folds, standard deviation {report.deviations[main]:.3f}"
    lines = [
        "",
        f"{report.name}: {name} {figure(metrics[main])} on {evaluated_speakers(report)} "
        f"({confidence(report)} interval {span(report.intervals.get(main))}{runs})",
        "  " + ", ".join(f"{NAMES[key]} {figure(metrics[key])}" for key in others),
    ]
    lines += [
        f"  {key}: CCC {figure(own.ccc)} ({span(own.ccc_interval)})"
        for key, own in report.per_dimension.items()
    ]
    if report.pooled:
        pooled = (
            f"{NAMES[key]} {figure(report.pooled.metrics[key])}"
            for key in (main, report.measured.beside[0])
        )
        lines.append(f"  pooled predictions of all folds: {', '.join(pooled)}")
    lines.append(f"  protocol {protocol.name}, sha256 {protocol.sha256[:16]}")
    lines += [f"    LEAKY: {protocol.leak}"] if protocol.leak else []
    for part, split in protocol.parts.items():
        listed = f" ({', '.join(split.speakers)})" if len(split.speakers) <= 8 else ""
        lines.append(f"    {part}: {split.clips} clips, speakers: {len(split.speakers)}{listed}")
    lines += [f"  {selection(report)}", *(f"  {line}" for line in degraded(report))]
    if foil := report.foil:
        lines.append(
            f"  foil: under the leaky protocol {foil.protocol} the same recipe has {name} "
            f"{foil.metrics[main]:.3f} ({foil.gap[main]:+.3f})"
        )
    lines += [f"  note: {note}" for note in [*protocol.notes, *report.warnings]]
    trust = ", trust_remote_code=True" if report.model.remote_code else ""
    last = f"publish {report.output_dir} --repo USER/NAME"
    if report.evaluated_split == "validation":
        last = f"train {report.output_dir}/recipe.yaml evaluation.part=test --output {report.output_dir}_test"
        last += "  (when nothing is left to choose: evaluates on the test split)"
    return "\n".join(
        [
            *lines,
            f"  report: {(Path(report.output_dir) / 'report' / 'index.html').resolve().as_uri()}",
            f"  card: {report.output_dir}/model/README.md",
            f'  load it: pipeline("audio-classification", model="{report.output_dir}/model"{trust})',
            f"  next: ser-hf predict {report.output_dir} recording.wav",
            f"        ser-hf demo {report.output_dir}",
            f"        ser-hf {last}",
        ]
    )
