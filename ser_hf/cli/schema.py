"""ser-hf schema: the JSON schema of recipes."""

import json


def schema() -> None:
    """Print the JSON schema of recipes.

    Editors complete and check recipes by it.

    Example: ser-hf schema > recipe.schema.json
    """
    from pydantic import TypeAdapter

    from ..experiment.recipe import Recipe

    print(json.dumps(TypeAdapter(Recipe).json_schema(), indent=2))
