"""Plans a model from the keys of a recipe: a network of ser_hf, or a speech encoder."""

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

from ..models import ARCHITECTURES, TRANSFERRED, PooledEncoderConfig
from ..models.configuration import RANGES_KEY, WaveformConfig
from ..models.preparation import UNPREPARED, Preparation, PreparedFeatureExtractor
from ..models.target_heads import AUXILIARY_KEY, DIMENSIONS_KEY
from ..utils.environment import usable_memory
from ..utils.errors import UserError
from .checkpoint import (
    INVALID,
    Head,
    configure_extractor,
    read_checkpoint,
    set_options,
    warn_of_preparation,
    waveform_extractor,
    with_head,
    with_published_head,
)
from .encoders import ENCODERS, encoder_config, longest_clip, mask_valid, shortest_clip
from .output_names import check_label_names, output_names
from .parent import (
    LabelMatch,
    is_documented,
    match_labels,
    model_source,
    require_same_network,
)
from .published import is_model, published_file

_LABELS = "the labels of the corpus decide"
_PRECISION = "weights are in float32; use training.precision"
_CHECKPOINT = "model.checkpoint decides"
_TRAINING = "training decides; leave it out"
# Keys of a configuration that a recipe may not set, and what decides them.
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
    """The plan of a model: everything except its weights, which `checkpoint` contains.

    `checkpoint` is a Hub id (with the commit `revision`), a folder, or the weight file of a
    transferred network. `labels` compares the labels with those of the model of ser_hf that
    `checkpoint` is, and is None if `checkpoint` is no such model. `label_names` are the
    names that the recipe gives to the checkpoint's outputs. `gradient_free_head` is true for
    support vector machines and forests, which only scikit-learn can fit.
    """

    config: PreTrainedConfig
    extractor: SequenceFeatureExtractor
    checkpoint: str | None
    random_init: bool
    preparation: Preparation = UNPREPARED
    attention: str | None = None
    revision: str | None = None
    gradient_free_head: bool = False
    labels: LabelMatch | None = None
    label_names: tuple[str, ...] | None = None

    @property
    def has_statistics(self) -> bool:
        """Whether the weights contain the statistics of the front end's training clips."""
        return self.labels is not None

    @property
    def published_extractor(self) -> SequenceFeatureExtractor:
        """The extractor to publish, which prepares raw clips as in training."""
        if not self.preparation.active:
            return self.extractor
        return PreparedFeatureExtractor.from_stock(self.extractor, self.preparation)

    @property
    def padding_safe(self) -> bool:
        """Whether a padded clip gets the same logits as without padding.

        If not, the model is evaluated in batches of clips of equal length.
        """
        return self.encoder_config is None or mask_valid(self.encoder_config)

    @property
    def encoder_config(self) -> PreTrainedConfig | None:
        """The configuration of the speech encoder; None for networks of ser_hf."""
        config = encoder_config(self.config)
        return config if config.model_type in ENCODERS else None

    @property
    def longest_clip(self) -> int | None:
        """The number of samples after which the extractor cuts a clip; None without a limit."""
        if self.encoder_config is None:
            return None
        return longest_clip(self.encoder_config, self.extractor)

    @property
    def shortest_clip(self) -> int:
        """The smallest number of samples of a clip; silence is added to shorter clips."""
        return 0 if self.encoder_config is None else shortest_clip(self.encoder_config)

    @property
    def remote_code(self) -> bool:
        """Whether the saved model needs `trust_remote_code` where ser_hf is not installed."""
        of_transformers = self.config.model_type in ENCODERS and not isinstance(
            self.config, WaveformConfig
        )
        return not of_transformers or self.preparation.active


def blueprint(
    architecture: str,
    labels: list[str],
    *,
    sampling_rate: int = 16000,
    normalize: bool | None = None,
    checkpoint: str | None = None,
    random_init: bool = False,
    label_names: Sequence[str] | None = None,
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
    dimensions: Sequence[str] = (),
    auxiliary: Mapping[str, Sequence[str]] | None = None,
    options: dict[str, Any] | None = None,
) -> Blueprint:
    """Plan a model from the keys of a recipe: its configuration and its feature extractor.

    Args:
        architecture: a key of `ser_hf.models.ARCHITECTURES`, or ``"encoder"`` for `checkpoint`.
        normalize: whether to standardize each clip; None for the checkpoint's setting.
        checkpoint: Hub id or folder of a speech encoder or of a model of ser_hf (also the folder of
            its run), or a file of published weights.
        revision: branch, tag or commit of a checkpoint on the Hub.
        label_names: names of the checkpoint's outputs, in place of those of its configuration.
        window: seconds to which the input of Whisper is shortened.
        problem_type: value for the configuration, see `ser_hf.evaluation.tasks`.
        ranges: {dimension: [lowest, highest] rating}; published as `target_ranges`.
        dimensions: dimensions that are predicted beside the labels.
        auxiliary: {auxiliary target of the training: the names of its classes}.
        options: further values for the configuration of the network or encoder.

    Raises:
        UserError: naming the key of `model` or `audio` that is wrong or does not fit the
            checkpoint.
    """
    options = dict(options or {})
    for key in options:
        if key in MANAGED:
            raise UserError(f"model.{key}: {MANAGED[key]}")
    task = _Task(labels, problem_type, ranges, dimensions, auxiliary or {})
    head = Head(pooling, tuple(head_layers), head_dropout, weighted_layer_sum)

    if architecture == "encoder":
        return _encoder_blueprint(
            checkpoint,
            task,
            head,
            options=options,
            sampling_rate=sampling_rate,
            normalize=normalize,
            random_init=random_init,
            label_names=label_names,
            attention=attention,
            revision=revision,
            window=window,
            preparation=preparation,
        )
    if head.settings:
        first_key = next(iter(head.settings))
        raise UserError(
            f"model.{first_key}: belongs to architecture encoder, not to {architecture}"
        )
    return _network_blueprint(
        architecture,
        task,
        options=options,
        sampling_rate=sampling_rate,
        normalize=bool(normalize),
        checkpoint=checkpoint,
        random_init=random_init,
        revision=revision,
        preparation=preparation,
    )


def _encoder_blueprint(
    checkpoint: str | None,
    task: "_Task",
    head: Head,
    *,
    options: dict[str, Any],
    sampling_rate: int,
    normalize: bool | None,
    random_init: bool,
    label_names: Sequence[str] | None,
    attention: str | None,
    revision: str | None,
    window: int | None,
    preparation: Preparation,
) -> Blueprint:
    """The plan of a classifier on a speech encoder."""
    source = read_checkpoint(model_source(checkpoint), revision)
    if label_names is not None:
        check_label_names(label_names, source.source, source.config.id2label, task.labels)
    names = output_names(source.config.id2label, task.labels, label_names)
    label_match = None
    if is_documented(source) and not random_init:
        label_match = match_labels(names, task.labels)
    elif not random_init and not head.has_layers and not set(names).isdisjoint(task.labels):
        source = with_published_head(source, sampling_rate)
    has_pooled_head = isinstance(source.config, PooledEncoderConfig)
    if task.has_further_heads and not has_pooled_head:
        # The heads of transformers have one target.
        head = dataclasses.replace(head, pooling=head.pooling or "mean")
    config = with_head(source, head, sampling_rate)
    if label_names is not None and isinstance(config, PooledEncoderConfig) and not has_pooled_head:
        raise UserError(
            f"model.label_names: names the outputs of the classifier of {source.source}, which a "
            "head of ser_hf (model.pooling, further targets) replaces; leave it out"
        )
    task.describe(config)
    set_options(config, source.source, options)
    network = _classifier_on_meta(config)
    extractor = configure_extractor(
        source,
        config,
        sampling_rate=sampling_rate,
        normalize=normalize,
        window=window,
        preparation=preparation,
    )
    return Blueprint(
        config,
        extractor,
        source.source,
        random_init,
        preparation=preparation,
        attention=attention,
        revision=source.revision,
        gradient_free_head=_has_gradient_free_head(network),
        labels=label_match,
        label_names=None if label_names is None else tuple(label_names),
    )


def _network_blueprint(
    architecture: str,
    task: "_Task",
    *,
    options: dict[str, Any],
    sampling_rate: int,
    normalize: bool,
    checkpoint: str | None,
    random_init: bool,
    revision: str | None,
    preparation: Preparation,
) -> Blueprint:
    """The plan of a network of ser_hf.

    It starts from random weights, from a file of published weights, or from a model of ser_hf.
    """
    config, network = plan_network(architecture, sampling_rate, options, **task.config_keys)
    task.describe(config)
    extractor = waveform_extractor(sampling_rate, normalize)
    is_file = architecture in TRANSFERRED and not is_model(checkpoint)
    label_match = None
    commit = None
    if checkpoint is None or random_init:
        random_init = random_init or not is_file
    elif not is_file:
        source = read_checkpoint(model_source(checkpoint), revision)
        require_same_network(source, config, extractor)
        warn_of_preparation(source, preparation)
        names = output_names(source.config.id2label, task.labels)
        label_match = match_labels(names, task.labels)
        checkpoint = source.source
        commit = source.revision
    if is_file and not random_init:
        published_file(config.model_type, checkpoint)  # raises if the file is missing
    return Blueprint(
        config,
        extractor,
        checkpoint,
        random_init,
        preparation=preparation,
        revision=commit,
        gradient_free_head=_has_gradient_free_head(network),
        labels=label_match,
    )


def _has_gradient_free_head(network: PreTrainedModel) -> bool:
    """Whether no parameter of the classifier has a gradient."""
    return not any(parameter.requires_grad for parameter in network.classifier.parameters())


@dataclasses.dataclass(frozen=True)
class _Task:
    """The labels that a model predicts, or the dimensions with their ranges, or both.

    `dimensions` are those beside the labels, and `auxiliary` the auxiliary targets of the training.
    """

    labels: Sequence[str]
    problem_type: str | None
    ranges: Mapping[str, Sequence[float]] | None
    dimensions: Sequence[str] = ()
    auxiliary: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)

    @property
    def has_further_heads(self) -> bool:
        """Whether the model has heads beside its classifier."""
        return bool(self.dimensions or self.auxiliary)

    @property
    def config_keys(self) -> dict[str, Any]:
        """The keys of a configuration for its outputs."""
        keys: dict[str, Any] = {
            "id2label": dict(enumerate(self.labels)),
            "label2id": {label: i for i, label in enumerate(self.labels)},
        }
        if self.dimensions:
            keys[DIMENSIONS_KEY] = list(self.dimensions)
        if self.auxiliary:
            keys[AUXILIARY_KEY] = {name: list(names) for name, names in self.auxiliary.items()}
        return keys

    def describe(self, config: PreTrainedConfig) -> None:
        """Write the labels and the task into a configuration, in place of the checkpoint's."""
        for key in (RANGES_KEY, DIMENSIONS_KEY, AUXILIARY_KEY):
            vars(config).pop(key, None)
        for key, value in self.config_keys.items():
            setattr(config, key, value)
        config.problem_type = self.problem_type
        if self.ranges:
            ranges = {name: list(bounds) for name, bounds in self.ranges.items()}
            setattr(config, RANGES_KEY, ranges)


def plan_network(
    architecture: str, sampling_rate: int, options: dict[str, Any], **outputs: Any
) -> tuple[PreTrainedConfig, PreTrainedModel]:
    """The configuration of a network of ser_hf, and the network on the meta device.

    Args:
        outputs: further keys of the configuration, such as `id2label`.

    Raises:
        UserError: naming the key of a wrong setting, or if the machine has too little memory to
            train the parameters.
    """
    network_class = ARCHITECTURES[architecture]
    try:
        config = network_class.config_class(sampling_rate=sampling_rate, **options, **outputs)
    except ValueError as error:
        section = "audio" if str(error).startswith("sampling_rate") else "model"
        raise UserError(f"{section}.{error}") from None
    try:
        with torch.device("meta"):
            network = network_class(copy.deepcopy(config))
    except (ValueError, RuntimeError, IndexError, ArithmeticError) as error:
        raise UserError(f"model: {error}") from None
    _require_memory(network, copies=4)  # weights, gradients and the two moments of AdamW
    return config, network


def _classifier_on_meta(config: PreTrainedConfig) -> PreTrainedModel:
    """Build an encoder's classifier on the meta device, which raises for invalid settings."""
    try:
        encoder_config(config).validate()
        with torch.device("meta"):
            network = AutoModelForAudioClassification.from_config(
                copy.deepcopy(config), trust_remote_code=False
            )
    except INVALID as error:
        raise UserError(f"model: {type(error).__name__}: {error}") from None
    _require_memory(network, copies=1)
    return network


def _require_memory(network: PreTrainedModel, copies: int) -> None:
    """Raise a `UserError` if so many copies of the parameters do not fit into memory."""
    parameters = sum(parameter.numel() for parameter in network.parameters())
    needed = 4 * copies * parameters  # bytes in float32
    memory = usable_memory()
    if needed > memory:
        raise UserError(
            f"model: {parameters:,} parameters take {needed / 1e9:,.0f} GB, and this machine has "
            f"{memory / 1e9:,.0f} GB; use smaller layers"
        )
