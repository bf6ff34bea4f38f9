"""The base of every section of a recipe."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A section of a recipe: immutable, typed, and without unknown keys.

    A field has its type, range, default and description in one place, as in
    `rate: Annotated[float, Field(gt=0, le=100, description="...")] = 1e-3`. Reading, checks, the
    reference page and the JSON schema follow from it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def replace(self, **changes: Any) -> Self:
        """A checked copy with other values for some fields."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_validate(values | changes)
