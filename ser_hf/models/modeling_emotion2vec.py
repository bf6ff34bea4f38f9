"""emotion2vec (Ma et al. 2023, arXiv:2312.15185): a speech encoder pretrained for emotion.

The architecture is that of data2vec 2.0 for audio (Baevski et al. 2022, arXiv:2212.07525). It is
written here from these papers and from the tensors of the published files, which
`ser-hf convert emotion2vec` reads. A padded clip has the hidden states that it has alone: the
published code lets padding reach the convolutions for positions, and this module does not.
"""

import math
from collections.abc import Iterable
from typing import Annotated

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutput, SequenceClassifierOutput
from transformers.models.wav2vec2.modeling_wav2vec2 import _compute_mask_indices

from .configuration import Count, Counts, Fraction, Layers, Positive, Share, WaveformConfig
from .layers import classifier_output
from .options import Number, WholeNumber

Tokens = Annotated[int, WholeNumber(0, 1000)]


class Emotion2vecConfig(WaveformConfig):
    """The options of emotion2vec; the defaults are those of the base model.

    Names are those of wav2vec 2.0 in transformers where both encoders have the same part.
    """

    model_type = "ser_emotion2vec"

    standardize: Annotated[
        bool, "scale each clip to zero mean and unit variance, as in the pretraining"
    ] = True
    conv_dim: Annotated[Counts, "filters of each convolution of the stem"] = (512,) * 7
    conv_kernel: Annotated[Counts, "kernel size of each convolution of the stem"] = (
        10,
        3,
        3,
        3,
        3,
        2,
        2,
    )
    conv_stride: Annotated[Counts, "stride of each convolution of the stem"] = (5, 2, 2, 2, 2, 2, 2)
    hidden_size: Annotated[Count, "size of a frame"] = 768
    num_hidden_layers: Annotated[Layers, "transformer layers; the base model has 4 + 8"] = 12
    num_attention_heads: Annotated[Count, "heads of each attention"] = 12
    intermediate_size: Annotated[Count, "hidden units of each layer's feed-forward part"] = 3072
    num_conv_pos_layers: Annotated[Layers, "convolutions that encode positions"] = 5
    conv_pos_kernel_size: Annotated[Count, "kernel size of these convolutions, in frames"] = 19
    num_conv_pos_groups: Annotated[Count, "groups of these convolutions"] = 16
    num_extra_tokens: Annotated[Tokens, "trained vectors before the frames of a clip"] = 10
    alibi_scale_per_head: Annotated[
        bool, "scale the bias for distance in each head by a weight of its own"
    ] = True
    alibi_scale_per_layer: Annotated[bool, "have such weights in each layer"] = False
    do_stable_layer_norm: Annotated[
        bool, "normalize before the attention and the feed-forward part, not after them"
    ] = False
    layer_norm_eps: Annotated[Positive, "what the layer norms add to a variance"] = 1e-5
    feat_proj_dropout: Annotated[Fraction, "dropout of the frames before the first layer"] = 0.1
    hidden_dropout: Annotated[Fraction, "dropout of the output of attention and feed-forward"] = 0.1
    attention_dropout: Annotated[Fraction, "dropout of the weights of the attention"] = 0.1
    activation_dropout: Annotated[Fraction, "dropout of the hidden feed-forward units"] = 0.0
    layerdrop: Annotated[Fraction, "probability that a layer is skipped, in training"] = 0.0
    apply_spec_augment: Annotated[bool, "set stretches of frames to zero, in training"] = True
    mask_time_prob: Annotated[Share, "share of the frames that such stretches cover"] = 0.05
    mask_time_length: Annotated[Count, "frames in a stretch"] = 10
    mask_time_min_masks: Annotated[Tokens, "fewest stretches of a clip"] = 2
    initializer_range: Annotated[
        float, Number(more_than=0, at_most=1), "deviation of new weights"
    ] = 0.02

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        self._check_sizes()

    def _check_sizes(self) -> None:
        convolutions = len(self.conv_dim)
        if len(self.conv_kernel) != convolutions or len(self.conv_stride) != convolutions:
            raise ValueError(
                "conv_dim: expected one entry for each convolution, as many as conv_kernel and "
                "conv_stride"
            )
        for key in ("num_attention_heads", "num_conv_pos_groups"):
            if self.hidden_size % getattr(self, key):
                raise ValueError(f"{key}: does not divide hidden_size {self.hidden_size}")


class Emotion2vecStem(nn.Module):
    """Convolutions over the waveform, each with layer norm over its channels and GELU."""

    def __init__(self, config: Emotion2vecConfig):
        super().__init__()
        sizes = [1, *config.conv_dim]
        self.conv_layers = nn.ModuleList()
        for i, (kernel, stride) in enumerate(
            zip(config.conv_kernel, config.conv_stride, strict=True)
        ):
            layer = nn.Module()
            layer.conv = nn.Conv1d(sizes[i], sizes[i + 1], kernel, stride=stride, bias=False)
            layer.layer_norm = nn.LayerNorm(sizes[i + 1])
            self.conv_layers.append(layer)

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        """Waveforms (batch, samples) -> frames (batch, frames, channels)."""
        frames = waveform[:, :, None]
        for layer in self.conv_layers:
            frames = layer.conv(frames.transpose(1, 2)).transpose(1, 2)
            frames = nn.functional.gelu(layer.layer_norm(frames))
        return frames


class Emotion2vecProjection(nn.Module):
    """Layer norm, and a linear map of the stem's channels to the size of a frame."""

    def __init__(self, config: Emotion2vecConfig):
        super().__init__()
        self.layer_norm = nn.LayerNorm(config.conv_dim[-1])
        self.projection = nn.Linear(config.conv_dim[-1], config.hidden_size)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """(batch, frames, channels) -> (batch, frames, hidden_size)."""
        return self.projection(self.layer_norm(frames))


class Emotion2vecPositions(nn.Module):
    """Encodes relative positions: grouped convolutions over frames, each normalized, with GELU."""

    def __init__(self, config: Emotion2vecConfig):
        super().__init__()
        size = config.hidden_size
        kernel = config.conv_pos_kernel_size
        self.layers = nn.ModuleList(
            nn.Conv1d(size, size, kernel, padding=kernel // 2, groups=config.num_conv_pos_groups)
            for _ in range(config.num_conv_pos_layers)
        )

    def forward(self, frames: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Encode the positions of frames.

        Args:
            frames: (batch, frames, size).
            real: 1 for frames of the clip and 0 for padding, (batch, frames, 1).
        """
        count = frames.shape[1]
        for convolution in self.layers:
            # The input beyond the end of a clip is zero, as it is beyond the end of a batch.
            frames = convolution((frames * real).transpose(1, 2)).transpose(1, 2)
            # An even kernel makes one frame too many.
            frames = frames[:, :count]
            frames = nn.functional.gelu(nn.functional.layer_norm(frames, frames.shape[-1:]))
        return frames


class Emotion2vecAttention(nn.Module):
    """Attention of several heads with a bias that falls with the distance of two frames."""

    def __init__(self, config: Emotion2vecConfig):
        super().__init__()
        size = config.hidden_size
        self.config = config
        self.heads = config.num_attention_heads
        self.q_proj = nn.Linear(size, size)
        self.k_proj = nn.Linear(size, size)
        self.v_proj = nn.Linear(size, size)
        self.out_proj = nn.Linear(size, size)

    def forward(self, frames: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Frames (batch, frames, size), bias (batch or 1, heads, frames, frames) -> frames."""
        query = self._split(self.q_proj(frames))
        key = self._split(self.k_proj(frames))
        value = self._split(self.v_proj(frames))
        dropout = self.config.attention_dropout if self.training else 0.0
        bias = bias.to(query.dtype)
        if self.config._attn_implementation == "sdpa":
            mixed = nn.functional.scaled_dot_product_attention(
                query, key, value, attn_mask=bias, dropout_p=dropout
            )
        else:
            scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1]) + bias
            shares = scores.softmax(dim=-1, dtype=torch.float32).to(query.dtype)
            mixed = nn.functional.dropout(shares, dropout) @ value
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def _split(self, frames: torch.Tensor) -> torch.Tensor:
        """(batch, frames, size) -> (batch, heads, frames, size of a head)."""
        return frames.unflatten(2, (self.heads, -1)).transpose(1, 2)


class Emotion2vecFeedForward(nn.Module):
    """Two linear layers with GELU between them."""

    def __init__(self, config: Emotion2vecConfig):
        super().__init__()
        self.intermediate_dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation_dropout = nn.Dropout(config.activation_dropout)
        self.output_dense = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """(batch, frames, size) -> (batch, frames, size)."""
        frames = nn.functional.gelu(self.intermediate_dense(frames))
        return self.output_dense(self.activation_dropout(frames))


class Emotion2vecLayer(GradientCheckpointingLayer):
    """A transformer layer; layer norm follows its parts, or precedes them (stable layer norm)."""

    def __init__(self, config: Emotion2vecConfig):
        super().__init__()
        self.norm_first = config.do_stable_layer_norm
        self.attention = Emotion2vecAttention(config)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.feed_forward = Emotion2vecFeedForward(config)
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout)

    def forward(self, frames: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Frames (batch, frames, size), bias (batch or 1, heads, frames, frames) -> frames."""
        if self.norm_first:
            frames = frames + self.dropout(self.attention(self.layer_norm(frames), bias))
            # In data2vec 2.0 the second residual branch starts at the output of the feed-forward
            # part, not at its input.
            frames = self.feed_forward(self.final_layer_norm(frames))
            return frames + self.dropout(frames)
        frames = self.layer_norm(frames + self.dropout(self.attention(frames, bias)))
        return self.final_layer_norm(frames + self.dropout(self.feed_forward(frames)))


class Emotion2vecEncoder(nn.Module):
    """The transformer layers, with one bias for distance (ALiBi, arXiv:2108.12409) for all."""

    def __init__(self, config: Emotion2vecConfig):
        super().__init__()
        self.config = config
        self.gradient_checkpointing = False
        layers = config.num_hidden_layers if config.alibi_scale_per_layer else 1
        heads = config.num_attention_heads if config.alibi_scale_per_head else 1
        self.alibi_scale = nn.Parameter(torch.ones(layers, heads))
        norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        if config.do_stable_layer_norm:
            self.layer_norm = norm  # after the last layer
        else:
            self.input_layer_norm = norm
        self.dropout = nn.Dropout(config.feat_proj_dropout)
        self.layers = nn.ModuleList(
            Emotion2vecLayer(config) for _ in range(config.num_hidden_layers)
        )

    def forward(
        self, frames: torch.Tensor, real: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Apply the layers.

        Args:
            frames: extra tokens and frames, (batch, tokens + frames, size).
            real: bool (batch, tokens + frames), false for padding.

        Returns:
            The output, and the input of the layers with the output of each layer. The output is
            the last of these states, after the final norm if there is one.
        """
        distances = self._distance_bias(frames)
        lowest = torch.finfo(distances.dtype).min
        padding = ~real[:, None, None, :]
        if not self.config.do_stable_layer_norm:
            frames = self.input_layer_norm(frames)
        frames = self.dropout(frames)

        states = [frames]
        bias = None
        for i, layer in enumerate(self.layers):
            if bias is None or self.config.alibi_scale_per_layer:
                # Negative weights would favor distant frames.
                row = i if self.config.alibi_scale_per_layer else 0
                scale = self.alibi_scale[row].clamp(min=0)[:, None, None]
                bias = (distances * scale).masked_fill(padding, lowest)
            if not self._skips_layer():
                frames = layer(frames, bias)
            states.append(frames)
        if self.config.do_stable_layer_norm:
            frames = self.layer_norm(frames)
        return frames, states

    def _distance_bias(self, frames: torch.Tensor) -> torch.Tensor:
        """The negative distances of frames, times the slope of each head, float32.

        Extra tokens have distance 0 to everything. The shape is (1, heads, places, places).
        """
        tokens = self.config.num_extra_tokens
        places = torch.arange(frames.shape[1] - tokens, device=frames.device, dtype=torch.float32)
        distances = -(places[:, None] - places).abs()
        distances = nn.functional.pad(distances, (tokens, 0, tokens, 0))
        slopes = torch.tensor(alibi_slopes(self.config.num_attention_heads), device=frames.device)
        return distances * slopes[None, :, None, None]

    def _skips_layer(self) -> bool:
        layerdrop = self.config.layerdrop
        return self.training and layerdrop > 0 and torch.rand(()).item() < layerdrop


def alibi_slopes(heads: int) -> list[float]:
    """The slopes of the heads (Press et al. 2021): a geometric series that ends at 2^-8.

    If the number of heads is no power of two, the series of the next lower power is followed by
    every second slope of the series of twice as many heads.
    """
    power = 2 ** math.floor(math.log2(heads))
    slopes = [2 ** (-8 * (i + 1) / power) for i in range(power)]
    if power < heads:
        slopes += alibi_slopes(2 * power)[0::2][: heads - power]
    return slopes


class Emotion2vecPreTrainedModel(PreTrainedModel):
    """What the encoder and the classifier share: initial weights, and the mask of frames."""

    config_class = Emotion2vecConfig
    base_model_prefix = "emotion2vec"
    main_input_name = "input_values"
    input_modalities = "audio"
    supports_gradient_checkpointing = True
    # The Trainer multiplies the gradient of models that claim to normalize their own loss.
    accepts_loss_kwargs = False
    _supports_sdpa = True
    _no_split_modules: Iterable[str] = ["Emotion2vecLayer"]

    def _get_feature_vector_attention_mask(
        self, frames: int, attention_mask: torch.Tensor
    ) -> torch.Tensor:
        """The mask of real frames: (batch, samples) -> bool (batch, frames).

        Transformers has a method of this name in each speech encoder.
        """
        lengths = attention_mask.sum(dim=1)
        for kernel, stride in zip(self.config.conv_kernel, self.config.conv_stride, strict=True):
            lengths = torch.div(lengths - kernel, stride, rounding_mode="floor") + 1
        return torch.arange(frames, device=lengths.device) < lengths[:, None]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Initialize a module as the published code does."""
        if isinstance(module, nn.Conv1d):
            init.kaiming_normal_(module.weight)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            init.normal_(module.weight, std=self.config.initializer_range)
            init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, Emotion2vecEncoder):
            init.ones_(module.alibi_scale)
        elif isinstance(module, Emotion2vecModel):
            init.normal_(module.extra_tokens)


class Emotion2vecModel(Emotion2vecPreTrainedModel):
    """The encoder of emotion2vec, from waveforms to frames, 50 per second at 16 kHz."""

    def __init__(self, config: Emotion2vecConfig):
        super().__init__(config)
        self.feature_extractor = Emotion2vecStem(config)
        self.feature_projection = Emotion2vecProjection(config)
        self.positions = Emotion2vecPositions(config)
        self.extra_tokens = nn.Parameter(
            torch.zeros(1, config.num_extra_tokens, config.hidden_size)
        )
        self.encoder = Emotion2vecEncoder(config)
        self.post_init()

    def forward(
        self,
        input_values: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutput | tuple[torch.Tensor, ...]:
        """Encode waveforms.

        Args:
            input_values: (batch, samples) at the configuration's sampling rate.
            attention_mask: (batch, samples), 1 for the clip and 0 for the padding after it; if
                absent, all samples belong to the clip.
            output_hidden_states: also return the input of the layers and the output of each layer.
            return_dict: False for a tuple.

        Returns:
            `last_hidden_state` (batch, frames, hidden_size), and `hidden_states`.
        """
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        if attention_mask is None:
            attention_mask = torch.ones_like(input_values, dtype=torch.long)
        frames = self.feature_projection(
            self.feature_extractor(self._waveform(input_values, attention_mask))
        )
        real = self._get_feature_vector_attention_mask(frames.shape[1], attention_mask)
        frames = self._masked(frames, real)
        frames = frames + self.positions(frames, real[:, :, None].to(frames.dtype))

        tokens = self.config.num_extra_tokens
        extra_tokens = self.extra_tokens.expand(frames.shape[0], -1, -1).to(frames.dtype)
        frames = torch.cat([extra_tokens, frames], dim=1)
        real = nn.functional.pad(real, (tokens, 0), value=True)
        frames, states = self.encoder(frames, real)

        hidden_states = None
        if output_hidden_states:
            hidden_states = tuple(state[:, tokens:] for state in states)
        output = BaseModelOutput(last_hidden_state=frames[:, tokens:], hidden_states=hidden_states)
        return output.to_tuple() if return_dict is False else output

    def _waveform(self, waveform: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Set the padding to zero, and standardize each clip: (batch, samples)."""
        dtype = waveform.dtype
        waveform = waveform.float()  # sums over samples would overflow in half precision
        real = attention_mask.to(waveform.dtype)
        waveform = waveform * real
        if not self.config.standardize:
            return waveform.to(dtype)
        count = real.sum(dim=1, keepdim=True).clamp(min=1)
        centered = (waveform - waveform.sum(dim=1, keepdim=True) / count) * real
        variance = centered.square().sum(dim=1, keepdim=True) / count
        return (centered / torch.sqrt(variance + 1e-5)).to(dtype)

    def _masked(self, frames: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Set random stretches of the frames (batch, frames, size) to zero, in training only.

        This is SpecAugment along time; the pretraining sets hidden frames to zero too.
        """
        config = self.config
        if not (self.training and config.apply_spec_augment and config.mask_time_prob > 0):
            return frames
        hidden = _compute_mask_indices(
            tuple(real.shape),
            mask_prob=config.mask_time_prob,
            mask_length=config.mask_time_length,
            attention_mask=real.long(),
            min_masks=config.mask_time_min_masks,
        )
        return frames.masked_fill(torch.from_numpy(hidden).to(frames.device)[:, :, None], 0.0)


class Emotion2vecForAudioClassification(Emotion2vecPreTrainedModel):
    """emotion2vec with the head of the published models: the mean of the frames, a linear layer."""

    def __init__(self, config: Emotion2vecConfig):
        super().__init__(config)
        self.emotion2vec = Emotion2vecModel(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_values: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
    ) -> SequenceClassifierOutput:
        """Classify waveforms.

        Args:
            input_values: (batch, samples) at the configuration's sampling rate.
            attention_mask: (batch, samples), 1 for the clip and 0 for the padding after it.
            labels: (batch,) class ids, or (batch, dimensions) targets.
            output_hidden_states: also return the states of the encoder.

        Returns:
            `logits` (batch, labels), and `loss` if `labels` are given; see
            `layers.classifier_output`.
        """
        output = self.emotion2vec(
            input_values, attention_mask, output_hidden_states, return_dict=True
        )
        frames = output.last_hidden_state
        if attention_mask is None:
            pooled = frames.mean(dim=1)
        else:
            real = self._get_feature_vector_attention_mask(frames.shape[1], attention_mask)
            real = real[:, :, None].to(frames.dtype)
            pooled = (frames * real).sum(dim=1) / real.sum(dim=1).clamp(min=1)
        result = classifier_output(self.config, self.classifier(pooled), labels)
        result.hidden_states = output.hidden_states
        return result
