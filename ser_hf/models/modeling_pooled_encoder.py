"""A pooling head on any speech encoder of transformers: layer sum, pooling over real frames, an MLP."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from .layers import Pooling

Pooled = Literal["mean", "max", "mean_std", "attention", "attentive_stats"]


class PooledEncoderConfig(PreTrainedConfig):
    """Settings of `PooledEncoderForAudioClassification`.

    Args:
        encoder: configuration of the encoder, or its dictionary with a `model_type`; wav2vec2's own when absent.
        pooling: how a clip's frames become one vector, see `ser_hf.models.layers.Pooling`.
        weighted_layer_sum: pool a learnt weighted mean of the encoder's input and all its layers' outputs, in place of
            the last layer's (Yang et al. 2021, SUPERB, arXiv:2105.01051).
        head_layers: sizes of hidden layers between the pooled vector and the classifier.
        head_dropout: probability of dropout on the pooled vector and after each hidden layer.
        sampling_rate: Hz of the waveform that the feature extractor expects.

    Raises:
        ValueError: naming the field, where a value can have no meaning.
    """

    model_type = "ser_encoder"
    sub_configs: ClassVar[dict[str, Any]] = {"encoder": AutoConfig}

    encoder: Any = None
    pooling: Pooled = "mean"
    weighted_layer_sum: bool = False
    head_layers: list[int] = ()
    head_dropout: float = 0.0
    sampling_rate: int = 16000

    def __post_init__(self, **kwargs):
        given = {"model_type": "wav2vec2"} if self.encoder is None else self.encoder
        if isinstance(given, dict):
            given = AutoConfig.for_model(**given)
        self.encoder = given
        super().__post_init__(**kwargs)
        self.head_layers = list(self.head_layers)  # JSON knows lists only
        if self.pooling not in get_args(Pooled):
            raise ValueError(f"pooling {self.pooling!r} is none of {', '.join(get_args(Pooled))}")
        if not all(type(size) is int and size >= 1 for size in self.head_layers):
            raise ValueError(f"head_layers {self.head_layers}: expected sizes of 1 or more")
        if not 0 <= self.head_dropout < 1:
            raise ValueError(f"head_dropout {self.head_dropout}: expected a probability, 0 or more and less than 1")


class LayerSum(nn.Module):
    """A learnt convex combination of hidden states (Yang et al. 2021, SUPERB, arXiv:2105.01051); uniform at first."""

    def __init__(self, states: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(states))

    def forward(self, states: Sequence[torch.Tensor]) -> torch.Tensor:
        """As many tensors of one shape as there are weights -> a tensor of that shape."""
        shares = self.weight.softmax(dim=0)
        return sum(share * state for share, state in zip(shares, states, strict=True))


class PooledEncoderForAudioClassification(PreTrainedModel):
    """`encoder`, `layer_sum` (with `weighted_layer_sum`), `pooling`, hidden layers in `head`, and `classifier`.

    Pooling counts real frames only. The encoder is given the mask where it learnt with one: those that normalise over
    time in their stem (`feat_extract_norm` ``group``) did not, hear the padding, and get none.

    Args:
        encoder: one with weights, to take in place of a new one; its configuration has to be the configuration's.

    Raises:
        ValueError: for settings of the encoder that the head cannot stand on.
    """

    config_class = PooledEncoderConfig
    # The Trainer multiplies the gradient of models that claim to normalise their own loss.
    accepts_loss_kwargs = False
    supports_gradient_checkpointing = True
    input_modalities = "audio"

    def __init__(self, config: PooledEncoderConfig, encoder: PreTrainedModel | None = None):
        super().__init__(config)
        stock = config.encoder
        if getattr(stock, "add_adapter", False):
            raise ValueError("add_adapter: the head pools the encoder's own frames; set it to false")
        if config.weighted_layer_sum and layerdrop_key(stock):
            raise ValueError("weighted_layer_sum: layerdrop leaves out layers that are to be summed; set it to 0")
        self.encoder = _new_encoder(stock) if encoder is None else encoder
        # What the Trainer counts and what a pipeline's extractor returns.
        self.main_input_name = self.encoder.main_input_name
        if config.weighted_layer_sum:
            self.layer_sum = LayerSum(stock.num_hidden_layers + 1)
        self.pooling = Pooling(config.pooling, stock.hidden_size)
        layers, size = [nn.Dropout(config.head_dropout)], self.pooling.output_size
        for hidden in config.head_layers:
            layers += [nn.Linear(size, hidden), nn.GELU(), nn.Dropout(config.head_dropout)]
            size = hidden
        self.head = nn.Sequential(*layers)
        self.classifier = nn.Linear(size, config.num_labels)
        self.post_init()

    # The encoder computes all the attention there is.
    @property
    def _supports_sdpa(self) -> bool:
        return _encoder_class(self.config.encoder)._supports_sdpa

    @property
    def _supports_flash_attn(self) -> bool:
        return _encoder_class(self.config.encoder)._supports_flash_attn

    @property
    def _supports_flex_attn(self) -> bool:
        return _encoder_class(self.config.encoder)._supports_flex_attn

    def forward(
        self,
        input_values: torch.Tensor | None = None,
        input_features: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """Classifies what the encoder's feature extractor returns.

        Args:
            input_values: (batch, samples) waveforms, zeros after the end of those shorter than the longest; what is
                too short for one frame of the encoder is heard with silence after it. For the audio spectrogram
                transformer its (batch, frames, bands).
            input_features: (batch, frames, features) for wav2vec2-bert, (batch, bands, frames) for Whisper.
            attention_mask: 1 where the clip is and 0 where padding follows it; all real when absent. (batch, samples)
                for waveforms, (batch, frames) for wav2vec2-bert, either of the two for Whisper.
            labels: (batch,) class ids; the loss is then the mean cross entropy.
        """
        inputs = input_values if input_features is None else input_features
        if inputs is None:
            raise ValueError(f"expected {self.main_input_name}")
        inputs, attention_mask = self._long_enough(inputs, attention_mask)
        frames = self._frames(inputs, attention_mask)
        mask = self._frame_mask(frames, attention_mask)
        logits = self.classifier(self.head(self.pooling(frames, mask)))
        loss = None if labels is None else nn.functional.cross_entropy(logits.float(), labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def _long_enough(
        self, inputs: torch.Tensor, attention_mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Waveforms of one frame at least, and a mask that counts the silence of such a frame as real."""
        least = shortest_waveform(self.config.encoder)
        if least is None:
            return inputs, attention_mask
        lacking = max(0, least - inputs.shape[1])
        inputs = nn.functional.pad(inputs, (0, lacking))
        if attention_mask is None:
            return inputs, None
        attention_mask = nn.functional.pad(attention_mask, (0, lacking))
        return inputs, attention_mask.masked_fill(torch.arange(inputs.shape[1], device=inputs.device) < least, 1)

    def _frames(self, inputs: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
        """What is pooled, (batch, frames, hidden_size)."""
        stock = self.config.encoder
        given = {self.main_input_name: inputs}
        masked = stock.model_type not in ("whisper", "audio-spectrogram-transformer")
        if masked and getattr(stock, "feat_extract_norm", "layer") != "group":
            given["attention_mask"] = attention_mask
        outputs = self.encoder(**given, output_hidden_states=self.config.weighted_layer_sum, return_dict=True)
        frames = outputs.last_hidden_state
        if self.config.weighted_layer_sum:
            if stock.model_type in ("sew", "sew-d"):
                # Its layers see one frame of several, of which it makes as many as there were.
                summed = self.encoder.encoder.upsample(self.layer_sum(outputs.hidden_states))
                frames = nn.functional.pad(summed, (0, 0, 0, frames.shape[1] - summed.shape[1]))
            else:
                # The last with the norm that the encoder ends with, if it does.
                frames = self.layer_sum([*outputs.hidden_states[:-1], frames])
        # Patches after the class and the distillation token.
        return frames[:, 2:] if stock.model_type == "audio-spectrogram-transformer" else frames

    def _frame_mask(self, frames: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
        """(batch, frames) bool, true where a frame is of the clip."""
        count = frames.shape[1]
        kind = self.config.encoder.model_type
        if attention_mask is None or kind == "audio-spectrogram-transformer":
            return frames.new_ones(frames.shape[:2], dtype=torch.bool)
        if kind == "whisper":
            # By samples or by frames of the extractor, as the extractor was asked; a position is several of either.
            return attention_mask[:, :: attention_mask.shape[1] // count][:, :count].bool()
        if kind == "wav2vec2-bert":
            return attention_mask.bool()
        return self.encoder._get_feature_vector_attention_mask(count, attention_mask)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Of the head, in which nothing else has numbers; the encoder sees to itself."""
        if isinstance(module, LayerSum):
            init.zeros_(module.weight)
        elif isinstance(module, nn.Linear):
            init.xavier_uniform_(module.weight)
            if module.bias is not None:
                init.zeros_(module.bias)


def layerdrop_key(encoder: PreTrainedConfig) -> str | None:
    """The key that says which share of layers training skips at random; None where it skips none."""
    return next((key for key in ("encoder_layerdrop", "layerdrop") if getattr(encoder, key, 0)), None)


def shortest_waveform(encoder: PreTrainedConfig) -> int | None:
    """Samples of which the encoder makes one frame of its layers; None if it does not hear waveforms."""
    if not hasattr(encoder, "conv_kernel"):
        return None
    samples = getattr(encoder, "squeeze_factor", 1)
    for kernel, stride in zip(reversed(encoder.conv_kernel), reversed(encoder.conv_stride), strict=True):
        samples = (samples - 1) * stride + kernel
    return samples


def _encoder_class(encoder: PreTrainedConfig) -> type[PreTrainedModel]:
    return WhisperEncoder if encoder.model_type == "whisper" else AutoModel._model_mapping[type(encoder)]


def _new_encoder(encoder: PreTrainedConfig) -> PreTrainedModel:
    return _encoder_class(encoder)._from_config(encoder)
