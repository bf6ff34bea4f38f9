"""The response of verify_worker.py: the report about a model from a process without ser_hf."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ..utils.errors import UserError


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The logits of a clip, (classes,), or the reason why the model refuses the clip."""

    logits: list[float] | None = None
    error: str | None = None


@dataclasses.dataclass(frozen=True)
class Loaded:
    """The report about a model that `pipeline` loads.

    Args:
        versions: the versions of Python and of the libraries, by name.
        tensors: the number of tensors of the network.
        missing: tensors of the network that the model's files do not contain.
        unexpected: tensors in the model's files that the network does not use.
        labels: the labels of the outputs, in their order; None for an output without a label.
        sampling_rate: the sampling rate of the feature extractor.
        config_sampling_rate: the sampling rate in the network's configuration, if there is one.
        front_end: the class of the feature extractor.
        model: the class of the network.
        predictions: the prediction for each clip.
        alone: the prediction for half a clip by itself.
        padded: the prediction for the same half in a batch with the whole clip.
    """

    versions: dict[str, str]
    tensors: int
    missing: list[str]
    unexpected: list[str]
    labels: list[str | None]
    problem_type: str | None
    sampling_rate: int
    config_sampling_rate: int | None
    front_end: str
    model: str
    predictions: list[Prediction]
    alone: Prediction
    padded: Prediction


@dataclasses.dataclass(frozen=True)
class NotLoaded:
    """The report about a model that `pipeline` does not load: the error, and versions by name."""

    error: str
    versions: dict[str, str]


@dataclasses.dataclass(frozen=True)
class Died:
    """A process that ended without a response: its exit code and its last line."""

    code: int
    last_line: str


Response = Loaded | NotLoaded | Died


def response_of(values: Mapping[str, Any]) -> Loaded | NotLoaded:
    """Convert the JSON that verify_worker.py wrote to a response.

    Raises:
        UserError: if verify_worker.py could not read a clip.
    """
    if "unreadable" in values:
        raise UserError(f"--clips: {values['unreadable']}")
    if not values["loads"]:
        return NotLoaded(values["error"], values["versions"])
    return Loaded(
        versions=values["versions"],
        tensors=values["tensors"],
        missing=values["missing"],
        unexpected=values["unexpected"],
        labels=values["labels"],
        problem_type=values["problem_type"],
        sampling_rate=values["sampling_rate"],
        config_sampling_rate=values["config_sampling_rate"],
        front_end=values["front_end"],
        model=values["model"],
        predictions=[Prediction(**prediction) for prediction in values["predictions"]],
        alone=Prediction(**values["alone"]),
        padded=Prediction(**values["padded"]),
    )
