"""Checks the labels and input settings of a model: in configurations or in ONNX metadata."""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from ..audio.decode import SHORTEST
from ..utils.errors import UserError
from ..utils.files import first_problem

LabelName = Annotated[str, Field(min_length=1, max_length=100)]
# The two ratings that the values 0 and 1 of a dimension stand for.
RatingRange = Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]


# A length of training clips.
ClipSeconds = Annotated[float, Field(strict=True, ge=0, le=1e6)]

AnySettings = TypeVar("AnySettings", bound="ModelSettings")


class ModelSettings(BaseModel):
    """Labels and waveforms of a model; other keys are ignored."""

    id2label: dict[int, LabelName] | None = None
    label2id: dict[str, int] | None = None
    num_labels: Annotated[int, Field(ge=1, le=10_000)] | None = None
    problem_type: (
        Literal["regression", "single_label_classification", "multi_label_classification"] | None
    ) = None
    target_ranges: dict[str, RatingRange] | None = None
    dimension_names: Annotated[list[LabelName], Field(min_length=1)] | None = None
    label_threshold: Annotated[float, Field(gt=0, lt=1)] | None = None
    clip_seconds: Annotated[list[ClipSeconds], Field(min_length=2, max_length=2)] | None = None
    sampling_rate: Annotated[int, Field(strict=True, ge=1000, le=768_000)] = 16000
    padding_value: Annotated[float, Field(strict=True)] = 0.0


class OnnxSettings(ModelSettings):
    """The metadata of an ONNX file; `ser_hf.export.metadata` describes the keys.

    `quantized` describes the numbers of a quantized file; `revision` is the commit or hash of the
    exported weights, and `window_seconds` the length of evaluation windows.
    """

    id2label: dict[int, LabelName] = Field(min_length=1)
    sampling_rate: Annotated[int, Field(strict=True, ge=1000, le=768_000)]
    multi_label: bool | None = None
    padding_safe: bool | None = None
    longest_samples: Annotated[int, Field(strict=True, ge=1)] | None = None
    quantized: str | None = None
    unknown_threshold: Annotated[float, Field(strict=True, gt=0, le=1)] | None = None
    revision: str | None = None
    window_seconds: Annotated[float, Field(strict=True, ge=SHORTEST, le=1e6)] | None = None


def check_settings(
    values: Any, source: str, kind: type[AnySettings] = ModelSettings
) -> AnySettings:
    """Check values read from `source`, and return them as settings of this kind.

    Raises:
        UserError: naming `source`, if a value is wrong, or the labels are not numbered from 0.
    """
    try:
        settings = kind.model_validate(values)
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
    return settings


def contradiction(settings: ModelSettings) -> str | None:
    """How `label2id` contradicts `id2label`, in one sentence; None if it does not.

    Predictions are named by `id2label`. Who trains or scores with `label2id` would take one class
    for another. Names that only `label2id` has, such as those that transformers writes by default,
    are no contradiction.
    """
    numbers = settings.label2id or {}
    for number, name in (settings.id2label or {}).items():
        if numbers.get(name, number) != number:
            return (
                f"label2id in config.json numbers {name} as {numbers[name]}, and id2label as "
                f"{number}: correct label2id."
            )
    return None
