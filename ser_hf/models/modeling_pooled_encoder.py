"""A pooling head on any speech encoder of transformers, or on emotion2vec."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from .configuration import Fraction, PoolingKind, WaveformConfig
from .layers import Pooling
from .modeling_emotion2vec import Emotion2vecConfig, Emotion2vecModel
from .options import Items, WholeNumber
from .target_heads import TargetHeads

_ACTIVATIONS = {"gelu": nn.GELU, "relu": nn.ReLU, "tanh": nn.Tanh}


class PooledEncoderConfig(WaveformConfig):
    """The options of a pooling head and of the encoder below it.

    The weighted sum of layers is that of Yang et al. 2021 (SUPERB, arXiv:2105.01051).
    """

    model_type = "ser_encoder"
    sub_configs: ClassVar[dict[str, Any]] = {"encoder": AutoConfig}

    encoder: Annotated[
        Any,
        "configuration of the encoder, or its dictionary with a model_type; null for wav2vec2",
    ] = None
    pooling: Annotated[
        Literal[PoolingKind, "attentive_frame_stats"], "how the frames become one vector"
    ] = "mean"
    weighted_layer_sum: Annotated[
        bool,
        "pool a trained weighted mean of the encoder's input and the outputs of all its layers, "
        "in place of the last layer's output",
    ] = False
    head_layers: Annotated[
        list[int],
        Items(WholeNumber(1, 65_536), fewest=0),
        "units of hidden layers between the pooled vector and the classifier",
    ] = ()
    head_dropout: Annotated[
        Fraction, "probability of dropout on the pooled vector and after each hidden layer"
    ] = 0.0
    head_norm: Annotated[
        bool, "layer norm after each hidden layer, as in some classifiers of others"
    ] = False
    head_activation: Annotated[
        Literal["gelu", "relu", "tanh"], "what follows each hidden layer and its norm"
    ] = "gelu"

    def __post_init__(self, **kwargs):
        if self.encoder is None:
            self.encoder = {"model_type": "wav2vec2"}
        if isinstance(self.encoder, dict):
            self.encoder = _encoder_config(**self.encoder)
        super().__post_init__(**kwargs)
        if getattr(self.encoder, "add_adapter", False):
            raise ValueError(
                "add_adapter: the head pools the frames of the encoder itself; set it to false"
            )
        if self.weighted_layer_sum and layerdrop_key(self.encoder):
            raise ValueError(
                "weighted_layer_sum: layerdrop leaves out layers that are to be summed; set it to 0"
            )


class LayerSum(nn.Module):
    """A trained convex combination of tensors of one shape, uniform at first."""

    def __init__(self, states: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(states))

    def forward(self, states: Sequence[torch.Tensor]) -> torch.Tensor:
        """Tensors (batch, frames, size), one per layer -> (batch, frames, size)."""
        shares = self.weight.softmax(dim=0)
        return sum(share * state for share, state in zip(shares, states, strict=True))


class PooledEncoderForAudioClassification(TargetHeads, PreTrainedModel):
    """A speech encoder of transformers, whose frames are pooled and classified.

    Its parts are `encoder`, `layer_sum` (with `weighted_layer_sum`), `pooling`, hidden layers in
    `head`, and `classifier`, beside which there may be heads of further targets. Pooling counts
    real frames only. The encoder gets the mask if it was trained with a mask: encoders that
    normalize over time in their stem (`feat_extract_norm` ``group``) were not.

    Args:
        config: the options.
        encoder: an encoder with weights, in place of a new one.
    """

    config_class = PooledEncoderConfig
    # The Trainer multiplies the gradient of models that claim to normalize their own loss.
    accepts_loss_kwargs = False
    supports_gradient_checkpointing = True
    input_modalities = "audio"

    def __init__(self, config: PooledEncoderConfig, encoder: PreTrainedModel | None = None):
        super().__init__(config)
        stock = config.encoder
        self.encoder = _encoder_class(stock)._from_config(stock) if encoder is None else encoder
        # The Trainer counts this input, and the feature extractor returns it.
        self.main_input_name = self.encoder.main_input_name
        if config.weighted_layer_sum:
            self.layer_sum = LayerSum(stock.num_hidden_layers + 1)
        self.pooling = Pooling(config.pooling, stock.hidden_size)
        layers = [nn.Dropout(config.head_dropout)]
        size = self.pooling.output_size
        for hidden in config.head_layers:
            layers.append(nn.Linear(size, hidden))
            if config.head_norm:
                layers.append(nn.LayerNorm(hidden))
            layers += [_ACTIVATIONS[config.head_activation](), nn.Dropout(config.head_dropout)]
            size = hidden
        self.head = nn.Sequential(*layers)
        self.classifier = nn.Linear(size, config.num_labels)
        self.add_target_heads()
        self.post_init()

    # Only the encoder computes attention.
    _supports_sdpa = property(lambda self: _encoder_class(self.config.encoder)._supports_sdpa)
    _supports_flash_attn = property(
        lambda self: _encoder_class(self.config.encoder)._supports_flash_attn
    )
    _supports_flex_attn = property(
        lambda self: _encoder_class(self.config.encoder)._supports_flex_attn
    )

    def forward(
        self,
        input_values: torch.Tensor | None = None,
        input_features: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """Classify the output of the encoder's feature extractor.

        Args:
            input_values: (batch, samples) waveforms, padded with zeros; a clip too short for one
                frame of the encoder is followed by silence. For the audio spectrogram transformer
                they are features (batch, frames, bands).
            input_features: (batch, frames, features) for wav2vec2-bert, (batch, bands, frames) for
                Whisper.
            attention_mask: 1 for the clip and 0 for the padding after it: (batch, samples) for
                waveforms, (batch, frames) for wav2vec2-bert, either of the two for Whisper. If
                absent, everything belongs to the clip.
            labels: (batch,) class ids, or (batch, dimensions) targets.

        Returns:
            `logits` (batch, labels), and `loss` if `labels` are given; see
            `layers.classifier_output`. With several targets also the outputs of `TargetsOutput`.
        """
        inputs = input_values if input_features is None else input_features
        if inputs is None:
            raise ValueError(f"expected {self.main_input_name}")
        inputs, attention_mask = self._long_enough(inputs, attention_mask)
        frames = self._frames(inputs, attention_mask)
        mask = self._frame_mask(frames, attention_mask)
        return self.targets_output(self.head(self.pooling(frames, mask)), labels)

    def _long_enough(
        self, inputs: torch.Tensor, attention_mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Append silence to waveforms (batch, samples) that are too short for a single frame.

        The mask (batch, samples) then counts this silence as real. Other inputs stay as they are.
        """
        shortest = shortest_waveform(self.config.encoder)
        if shortest is None:
            return inputs, attention_mask
        missing = max(0, shortest - inputs.shape[1])
        inputs = nn.functional.pad(inputs, (0, missing))
        if attention_mask is None:
            return inputs, None
        attention_mask = nn.functional.pad(attention_mask, (0, missing))
        first_frame = torch.arange(inputs.shape[1], device=inputs.device) < shortest
        return inputs, attention_mask.masked_fill(first_frame, 1)

    def _frames(self, inputs: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
        """Encode inputs to the frames that are pooled: (batch, frames, hidden_size)."""
        stock = self.config.encoder
        arguments = {self.main_input_name: inputs}
        takes_mask = stock.model_type not in ("whisper", "audio-spectrogram-transformer")
        if takes_mask and getattr(stock, "feat_extract_norm", "layer") != "group":
            arguments["attention_mask"] = attention_mask
        outputs = self.encoder(
            **arguments, output_hidden_states=self.config.weighted_layer_sum, return_dict=True
        )
        frames = outputs.last_hidden_state
        if self.config.weighted_layer_sum:
            frames = self._sum_layers(outputs.hidden_states, frames)
        if stock.model_type == "audio-spectrogram-transformer":
            # The patches, without the class token and the distillation token before them.
            return frames[:, 2:]
        return frames

    def _sum_layers(
        self, hidden_states: Sequence[torch.Tensor], frames: torch.Tensor
    ) -> torch.Tensor:
        """Sum the states of all layers with weights; `frames` is the encoder's output."""
        if self.config.encoder.model_type in ("sew", "sew-d"):
            # The layers of this encoder run on squeezed frames, which are upsampled at the end.
            summed = self.encoder.encoder.upsample(self.layer_sum(hidden_states))
            return nn.functional.pad(summed, (0, 0, 0, frames.shape[1] - summed.shape[1]))
        # The output differs from the last state by the encoder's final norm, if it has one.
        return self.layer_sum([*hidden_states[:-1], frames])

    def _frame_mask(
        self, frames: torch.Tensor, attention_mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the mask of real frames: (batch, frames, size) -> bool (batch, frames)."""
        count = frames.shape[1]
        kind = self.config.encoder.model_type
        if attention_mask is None or kind == "audio-spectrogram-transformer":
            return frames.new_ones(frames.shape[:2], dtype=torch.bool)
        if kind == "whisper":
            # The mask has one entry for each sample, or for each frame of the extractor. A frame of
            # the encoder covers several of these entries.
            step = attention_mask.shape[1] // count
            return attention_mask[:, ::step][:, :count].bool()
        if kind == "wav2vec2-bert":
            return attention_mask.bool()
        return self.encoder._get_feature_vector_attention_mask(count, attention_mask)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Initialize the layers of the head; the encoder initializes itself."""
        if isinstance(module, LayerSum):
            init.zeros_(module.weight)
        elif isinstance(module, nn.Linear):
            init.xavier_uniform_(module.weight)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)


def layerdrop_key(encoder: PreTrainedConfig) -> str | None:
    """Return the configuration key for skipping random layers in training; None without one."""
    for key in ("encoder_layerdrop", "layerdrop"):
        if getattr(encoder, key, 0):
            return key
    return None


def shortest_waveform(encoder: PreTrainedConfig) -> int | None:
    """Return the samples in the shortest waveform; None if the encoder takes no waveforms.

    The shortest waveform makes one frame of the encoder's layers.
    """
    if not hasattr(encoder, "conv_kernel"):
        return None
    samples = getattr(encoder, "squeeze_factor", 1)
    convolutions = list(zip(encoder.conv_kernel, encoder.conv_stride, strict=True))
    for kernel, stride in reversed(convolutions):
        samples = (samples - 1) * stride + kernel
    return samples


def _encoder_config(model_type: str, **settings: Any) -> PreTrainedConfig:
    """Build the configuration of an encoder from its dictionary."""
    # Where this file is published, transformers does not know the encoder beside it.
    if model_type == Emotion2vecConfig.model_type:
        return Emotion2vecConfig(**settings)
    return AutoConfig.for_model(model_type, **settings)


def _encoder_class(encoder: PreTrainedConfig) -> type[PreTrainedModel]:
    if isinstance(encoder, Emotion2vecConfig):
        return Emotion2vecModel
    if encoder.model_type == "whisper":
        return WhisperEncoder
    return AutoModel._model_mapping[type(encoder)]
