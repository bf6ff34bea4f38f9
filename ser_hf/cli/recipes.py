"""ser-hf recipes: the recipes that are installed with the package."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from ..utils.errors import UserError
from .options import Json, as_json, built_in_recipes, recipe_path


def recipes(
    name: Annotated[str | None, Argument(metavar="NAME", help="Print this one.  [default: list all]")] = None,
    output: Annotated[str | None, Option(metavar="FILE", help="Write it to a file of your own, to edit.")] = None,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace the file.")] = False,
    json: Json = False,
) -> None:
    """List the built-in recipes, or print or copy one.

    Verbs that take a recipe find these by name. sweeps/ holds search spaces, accelerate/ settings of `accelerate launch`
    to copy.

    Example: ser-hf recipes quickstart --output my.yaml
    """
    found = built_in_recipes()
    if name is None:
        titles = {own: path.read_text(encoding="utf-8").partition("\n")[0].strip("# ") for own, path in found.items()}
        width = max(map(len, titles))
        lines = [f"{own:<{width}}  {title}" for own, title in titles.items()]
        print(as_json(titles) if json else "\n".join(lines))
        return
    text = Path(recipe_path(name)).read_text(encoding="utf-8")
    if output is None:
        print(text, end="")
    elif Path(output).exists() and not overwrite:
        raise UserError(f"{output}: exists already; choose another file, or replace it with --overwrite")
    else:
        Path(output).write_text(text, encoding="utf-8")
        print(f"ser-hf train {output}")
