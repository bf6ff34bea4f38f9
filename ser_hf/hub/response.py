"""What a process without ser_hf reports of a model: the response of verify_worker.py."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ..utils.errors import UserError


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The logits of a clip, (classes,), or why the model refuses it."""

    logits: list[float] | None = None
    error: str | None = None


@dataclasses.dataclass(frozen=True)
class Loaded:
    """The report of a model that `pipeline` loads.

    Args:
        versions: of Python and of the libraries, by their names.
        tensors: the number of tensors of the network.
        missing: tensors of the network that its files do not contain.
        unexpected: tensors of its files that the network does not use.
        labels: of the outputs, in their order; None where id2label has none.
        sampling_rate: of the feature extractor.
        config_sampling_rate: of the network, if its configuration names one.
        front_end: the class of the feature extractor.
        model: the class of the network.
        predictions: of the clips.
        alone: of half a clip by itself.
        padded: of the same half in a batch with the whole clip.
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
    """The report of a model that `pipeline` does not load: the error, and versions by name."""

    error: str
    versions: dict[str, str]


@dataclasses.dataclass(frozen=True)
class Died:
    """A process that ended without a response: its exit code and its last line."""

    code: int
    last_line: str


Response = Loaded | NotLoaded | Died


def response_of(values: Mapping[str, Any]) -> Loaded | NotLoaded:
    """The response that verify_worker.py wrote as JSON.

    Raises:
        UserError: if it could not read a clip.
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
