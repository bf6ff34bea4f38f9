"""The plan of a model from the keys of a recipe: a network of ser_hf, or a speech encoder."""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import (
    AutoModelForAudioClassification,
    PreTrainedConfig,
    PreTrainedModel,
    SequenceFeatureExtractor,
)

from ..models import ARCHITECTURES, TRANSFERRED
from ..models.configuration import RANGES_KEY
from ..models.preparation import UNPREPARED, Preparation, PreparedFeatureExtractor
from ..utils.environment import usable_memory
from ..utils.errors import UserError
from .checkpoint import (
    INVALID,
    Head,
    configure_extractor,
    read_checkpoint,
    set_options,
    waveform_extractor,
    with_head,
)
from .encoders import ENCODERS, encoder_config, longest_clip, mask_valid, shortest_clip
from .published import published_file

_LABELS = "the labels of the corpus decide"
_PRECISION = "weights are in float32; use training.precision"
_CHECKPOINT = "model.checkpoint decides"
_TRAINING = "training decides; leave it out"
# Keys of a configuration that something else decides, and what.
MANAGED = {
    "num_labels": _LABELS,
    "id2label": _LABELS,
    "label2id": _LABELS,
    "dtype": _PRECISION,
    "torch_dtype": _PRECISION,
    "model_type": _CHECKPOINT,
    "architectures": _CHECKPOINT,
    "transformers_version": _CHECKPOINT,
    "problem_type": _TRAINING,
    "return_dict": _TRAINING,
    "output_hidden_states": _TRAINING,
    "output_attentions": _TRAINING,
    "sampling_rate": "audio.sampling_rate decides",
}


@dataclasses.dataclass(frozen=True)
class Blueprint:
    """Everything about a model but its weights, whose source is `checkpoint`.

    The source is a Hub id (with the commit `revision`), a folder, or the file of a transferred
    network. A classifier without gradient (support vector machines, a forest) needs scikit-learn.
    """

    config: PreTrainedConfig
    extractor: SequenceFeatureExtractor
    checkpoint: str | None
    random_init: bool
    preparation: Preparation = UNPREPARED
    attention: str | None = None
    revision: str | None = None
    gradient_free_head: bool = False

    @property
    def published_extractor(self) -> SequenceFeatureExtractor:
        """The extractor to publish: it prepares raw clips as the training clips were."""
        if not self.preparation.active:
            return self.extractor
        return PreparedFeatureExtractor.from_stock(self.extractor, self.preparation)

    @property
    def padding_safe(self) -> bool:
        """Whether a padded clip gets the same logits as alone.

        Other models are evaluated in batches of equal length.
        """
        return self.encoder_config is None or mask_valid(self.encoder_config)

    @property
    def encoder_config(self) -> PreTrainedConfig | None:
        """The configuration of the transformers encoder; None for networks without one."""
        config = encoder_config(self.config)
        return config if config.model_type in ENCODERS else None

    @property
    def longest_clip(self) -> int | None:
        """Samples beyond which the extractor would cut a clip; None without a limit."""
        if self.encoder_config is None:
            return None
        return longest_clip(self.encoder_config, self.extractor)

    @property
    def shortest_clip(self) -> int:
        """Samples below which silence is added to a clip."""
        return 0 if self.encoder_config is None else shortest_clip(self.encoder_config)

    @property
    def remote_code(self) -> bool:
        """Whether the saved model needs `trust_remote_code` where ser_hf is not installed."""
        return self.config.model_type not in ENCODERS or self.preparation.active


def blueprint(
    architecture: str,
    labels: list[str],
    *,
    sampling_rate: int = 16000,
    normalize: bool | None = None,
    checkpoint: str | None = None,
    random_init: bool = False,
    weighted_layer_sum: bool = False,
    pooling: str | None = None,
    head_layers: Sequence[int] = (),
    head_dropout: float = 0.0,
    attention: str | None = None,
    revision: str | None = None,
    window: int | None = None,
    preparation: Preparation = UNPREPARED,
    problem_type: str | None = None,
    ranges: Mapping[str, Sequence[float]] | None = None,
    options: dict[str, Any] | None = None,
) -> Blueprint:
    """Configuration and feature extractor of a model, from the keys of a recipe.

    Args:
        architecture: a key of `ser_hf.models.ARCHITECTURES`, or ``"encoder"`` for `checkpoint`.
        normalize: None for the checkpoint's setting.
        checkpoint: Hub id or folder of a speech encoder or our model, or a file of published
            weights.
        revision: of a checkpoint on the Hub: a branch, tag or commit.
        window: seconds to which the input of Whisper is shortened.
        problem_type: of the configuration, see `ser_hf.evaluation.tasks`.
        ranges: of the ratings of each dimension, [lowest, highest]; published as `target_ranges`.
        options: values of the (encoder's) configuration.

    Raises:
        UserError: naming the key of `model` or `audio` that is wrong or does not fit the
            checkpoint.
    """
    options = dict(options or {})
    for key in options:
        if key in MANAGED:
            raise UserError(f"model.{key}: {MANAGED[key]}")
    head = Head(pooling, tuple(head_layers), head_dropout, weighted_layer_sum)
    task = _Task(labels, problem_type, ranges)

    if architecture == "encoder":
        source = read_checkpoint(checkpoint, revision)
        config = with_head(source, head, sampling_rate)
        task.describe(config)
        set_options(config, source.source, options)
        network = _without_memory(config)
        extractor = configure_extractor(
            source,
            config,
            sampling_rate=sampling_rate,
            normalize=normalize,
            window=window,
            preparation=preparation,
        )
        revision = source.revision
    else:
        if head.settings:
            first_key = next(iter(head.settings))
            raise UserError(
                f"model.{first_key}: belongs to architecture encoder, not to {architecture}"
            )
        config, network = plan_network(architecture, sampling_rate, options, **task.label_names)
        task.describe(config)
        extractor = waveform_extractor(sampling_rate, bool(normalize))
        if architecture not in TRANSFERRED:
            checkpoint = None
            random_init = True
        elif not random_init:
            published_file(config, checkpoint)  # must be there
        # Settings of encoders.
        attention = None
        revision = None

    head_parameters = network.classifier.parameters()
    return Blueprint(
        config,
        extractor,
        checkpoint,
        random_init,
        preparation=preparation,
        attention=attention,
        revision=revision,
        gradient_free_head=not any(parameter.requires_grad for parameter in head_parameters),
    )


@dataclasses.dataclass(frozen=True)
class _Task:
    """What a model predicts: its labels, or dimensions with their ranges."""

    labels: Sequence[str]
    problem_type: str | None
    ranges: Mapping[str, Sequence[float]] | None

    @property
    def label_names(self) -> dict[str, dict]:
        """The two mappings of a configuration."""
        return {
            "id2label": dict(enumerate(self.labels)),
            "label2id": {label: i for i, label in enumerate(self.labels)},
        }

    def describe(self, config: PreTrainedConfig) -> None:
        """Set what `pipeline` reads; a checkpoint's configuration describes its old labels."""
        for key, value in self.label_names.items():
            setattr(config, key, value)
        config.problem_type = self.problem_type
        vars(config).pop(RANGES_KEY, None)
        if self.ranges:
            ranges = {name: list(bounds) for name, bounds in self.ranges.items()}
            setattr(config, RANGES_KEY, ranges)


def plan_network(
    architecture: str, sampling_rate: int, options: dict[str, Any], **label_names: dict
) -> tuple[PreTrainedConfig, PreTrainedModel]:
    """The configuration of a network of ser_hf, and its layers without their memory.

    Raises:
        UserError: naming the key of a wrong setting, or for more parameters than the machine can
            train.
    """
    network_class = ARCHITECTURES[architecture]
    try:
        config = network_class.config_class(sampling_rate=sampling_rate, **options, **label_names)
    except ValueError as error:
        section = "audio" if str(error).startswith("sampling_rate") else "model"
        raise UserError(f"{section}.{error}") from None
    try:
        with torch.device("meta"):
            network = network_class(copy.deepcopy(config))
    except (ValueError, RuntimeError, IndexError, ArithmeticError) as error:
        raise UserError(f"model: {error}") from None
    _require_memory(network, copies=4)  # weights, gradients and two moments
    return config, network


def _without_memory(config: PreTrainedConfig) -> PreTrainedModel:
    """The layers of an encoder's classifier without their memory, to find invalid settings."""
    try:
        encoder_config(config).validate()
        with torch.device("meta"):
            network = AutoModelForAudioClassification.from_config(copy.deepcopy(config))
    except INVALID as error:
        raise UserError(f"model: {type(error).__name__}: {error}") from None
    _require_memory(network, copies=1)
    return network


def _require_memory(network: PreTrainedModel, copies: int) -> None:
    parameters = sum(parameter.numel() for parameter in network.parameters())
    needed = 4 * copies * parameters  # bytes in float32
    memory = usable_memory()
    if needed > memory:
        raise UserError(
            f"model: {parameters:,} parameters take {needed / 1e9:,.0f} GB, and this machine has "
            f"{memory / 1e9:,.0f} GB; use smaller layers"
        )
