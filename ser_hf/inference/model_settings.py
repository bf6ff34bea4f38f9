"""Checks the labels and input settings of a model: in configurations or in ONNX metadata."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from ..utils.errors import UserError
from ..utils.files import first_problem

LabelName = Annotated[str, Field(min_length=1, max_length=100)]
# The two ratings that the values 0 and 1 of a dimension stand for.
RatingRange = Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]


class ModelSettings(BaseModel):
    """Labels and waveforms of a model; other keys are ignored."""

    id2label: dict[int, LabelName] | None = None
    num_labels: Annotated[int, Field(ge=1, le=10_000)] | None = None
    problem_type: (
        Literal["regression", "single_label_classification", "multi_label_classification"] | None
    ) = None
    target_ranges: dict[str, RatingRange] | None = None
    sampling_rate: Annotated[int, Field(strict=True, ge=1000, le=768_000)] = 16000
    padding_value: Annotated[float, Field(strict=True)] = 0.0


def check_settings(values: Any, source: str) -> None:
    """Check that values read from `source` are `ModelSettings`.

    Raises:
        UserError: naming `source`, if a value is wrong, or the labels are not numbered from 0.
    """
    try:
        settings = ModelSettings.model_validate(values)
    except ValidationError as error:
        raise UserError(
            f"{source}: {first_problem(error)}; correct the model's configuration"
        ) from None

    names = settings.id2label or {}
    if set(names) != set(range(len(names))):
        numbers = ", ".join(str(number) for number in names)
        raise UserError(
            f"{source}: its labels have the numbers {numbers}, not 0 to {len(names) - 1}; "
            "correct id2label in its config.json"
        )
