"""The metadata of exported files: what is needed to run them, and to name their outputs."""

import dataclasses
from typing import Literal

from ..loading.encoders import (
    ENCODERS,
    encoder_config,
    has_fixed_length,
    longest_clip,
    mask_valid,
)
from ..models.configuration import (
    CLIP_SECONDS_KEY,
    LABEL_THRESHOLD_KEY,
    RANGES_KEY,
    TEMPERATURE_KEY,
    UNKNOWN_KEY,
)
from ..models.target_heads import DIMENSIONS_KEY
from ..utils.environment import __version__
from .graph import WaveformClassifier

OPSET = 18  # the oldest one that the exporter writes without conversion


@dataclasses.dataclass(frozen=True)
class ExportMetadata:
    """The metadata of a file; each field is written as JSON under its name, None is left out.

    Args:
        id2label: the label of each output, by the number of the output as text.
        multi_label: whether each label has a separate probability.
        label_threshold: the probability above which a label is predicted, if a clip may have
            several.
        target_ranges: for each dimension, the ratings that the values 0 and 1 stand for.
        dimension_names: the columns of the output `values`, if there are labels too.
        padding_safe: whether clips of different lengths may share a batch.
        longest_samples: the number of samples after which a clip is cut off; None for no limit.
        precision: the numbers of the network.
        calibration_temperature: the number that logits are divided by for calibrated probabilities.
        unknown_threshold: the least probability of a prediction that keeps the stated error.
        clip_seconds: the lengths between which most training clips are, for turns of speech.
        ser_hf: the version of ser_hf that wrote the file.
    """

    id2label: dict[str, str]
    sampling_rate: int
    multi_label: bool
    problem_type: str | None
    label_threshold: float | None
    target_ranges: dict[str, list[float]] | None
    dimension_names: list[str] | None
    model_type: str
    padding_safe: bool
    longest_samples: int | None
    calibration_temperature: float | None
    unknown_threshold: float | None
    clip_seconds: list[float] | None
    precision: Literal["float32", "float16"]
    ser_hf: str
    opset: int = OPSET


def metadata_of(graph: WaveformClassifier) -> ExportMetadata:
    """Return the metadata of a file: labels, sampling rate, and whether clips may share a batch."""
    config = graph.model.config
    encoder = encoder_config(config).model_type in ENCODERS
    # Inputs of the same length have no padding between clips.
    masked = graph.extractor.return_attention_mask or (encoder and has_fixed_length(config))
    padding_safe = bool(masked and (not encoder or mask_valid(config)))
    return ExportMetadata(
        id2label={str(number): config.id2label[number] for number in sorted(config.id2label)},
        sampling_rate=graph.sampling_rate,
        multi_label=config.problem_type == "multi_label_classification",
        problem_type=config.problem_type,
        label_threshold=getattr(config, LABEL_THRESHOLD_KEY, None),
        target_ranges=getattr(config, RANGES_KEY, None),
        dimension_names=getattr(config, DIMENSIONS_KEY, None),
        model_type=config.model_type,
        padding_safe=padding_safe,
        longest_samples=longest_clip(config, graph.extractor) if encoder else None,
        calibration_temperature=getattr(config, TEMPERATURE_KEY, None),
        unknown_threshold=getattr(config, UNKNOWN_KEY, None),
        clip_seconds=getattr(config, CLIP_SECONDS_KEY, None),
        precision="float16" if graph.half_precision else "float32",
        ser_hf=__version__,
    )
