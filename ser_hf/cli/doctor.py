"""ser-hf doctor: checks of a recipe that name what keeps a network from learning."""

from pathlib import Path
from typing import Annotated

from typer import Exit, Option

from ..utils.errors import UserError
from .first_checks import announce
from .options import Json, Overrides, RecipeFile, as_json


def doctor(
    recipe: RecipeFile,
    overrides: Overrides = None,
    output: Annotated[
        str | None, Option(metavar="FILE", help="Also write the checks; ends with .json.")
    ] = None,
    seconds: Annotated[
        float, Option(metavar="S", min=1, help="The longest time of each short training.")
    ] = 60.0,
    json: Json = False,
) -> None:
    """Check why a recipe does not learn.

    Checks recordings, labels, speakers, splits and network, and says what to do. Writes no run.
    The exit code is 1 if a check failed.

    Example: ser-hf doctor quickstart
    """
    if output is not None and Path(output).suffix != ".json":
        raise UserError(f"--output: {output}: expected a name that ends with .json")
    from ..experiment.reading import read_recipe

    # Mistakes are reported before libraries are loaded, which takes seconds.
    checked_recipe = read_recipe(recipe, overrides or ())
    announce(recipe)
    from ..doctor import CheckResult, examine
    from ..utils.files import replace_text

    def report(check: CheckResult) -> None:
        if not json:
            print(check.line(), flush=True)

    diagnosis = examine(checked_recipe, seconds, report)
    content = as_json(diagnosis.to_dict())
    print(content if json else diagnosis.summary())
    if output is not None:
        file = Path(output)
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_text(file, f"{content}\n")
    if not diagnosis.passed:
        raise Exit(1)
