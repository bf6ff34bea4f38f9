"""The table of speech encoders, and lengths of clips that follow from their configuration.

Functions take the configuration of an encoder, or of our head on one. Samples are at 16 kHz.
"""

import dataclasses
import math

from transformers import (
    ASTFeatureExtractor,
    PreTrainedConfig,
    SeamlessM4TFeatureExtractor,
    SequenceFeatureExtractor,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
)

from ..models import modeling_pooled_encoder
from ..models.modeling_pooled_encoder import shortest_waveform
from ..utils.errors import UserError


@dataclasses.dataclass(frozen=True)
class Encoder:
    """Names of the parts of an encoder, relative to it.

    Args:
        name: of the encoder in its classifier.
        stem: the modules that make frames; empty if the feature extractor does.
        layers: the list of transformer layers.
        above: what follows the layers.
        lora_targets: the linear layers that LoRA usually adapts.
    """

    name: str
    stem: tuple[str, ...]
    layers: str
    above: tuple[str, ...]
    lora_targets: tuple[str, ...]


_STEM = ("feature_extractor",)
_QUERY_VALUE = ("q_proj", "v_proj")

# `model_type` of the configuration -> the names of its parts.
ENCODERS = {
    "wav2vec2": Encoder(
        "wav2vec2",
        stem=_STEM,
        layers="encoder.layers",
        above=("adapter",),
        lora_targets=_QUERY_VALUE,
    ),
    "hubert": Encoder(
        "hubert",
        stem=_STEM,
        layers="encoder.layers",
        above=(),
        lora_targets=_QUERY_VALUE,
    ),
    "wavlm": Encoder(
        "wavlm",
        stem=_STEM,
        layers="encoder.layers",
        above=("adapter",),
        # Its attention reads the weights of its projections and never calls them: an adapter there
        # would do nothing.
        lora_targets=("intermediate_dense", "output_dense"),
    ),
    "unispeech": Encoder(
        "unispeech",
        stem=_STEM,
        layers="encoder.layers",
        above=(),
        lora_targets=_QUERY_VALUE,
    ),
    "unispeech-sat": Encoder(
        "unispeech_sat",
        stem=_STEM,
        layers="encoder.layers",
        above=(),
        lora_targets=_QUERY_VALUE,
    ),
    "data2vec-audio": Encoder(
        "data2vec_audio",
        stem=_STEM,
        layers="encoder.layers",
        above=("adapter",),
        lora_targets=_QUERY_VALUE,
    ),
    "sew": Encoder(
        "sew",
        stem=_STEM,
        layers="encoder.layers",
        above=("encoder.upsample",),
        lora_targets=_QUERY_VALUE,
    ),
    "sew-d": Encoder(
        "sew_d",
        stem=_STEM,
        layers="encoder.encoder.layer",
        above=("encoder.upsample",),
        lora_targets=("query_proj", "value_proj"),
    ),
    "wav2vec2-conformer": Encoder(
        "wav2vec2_conformer",
        stem=_STEM,
        layers="encoder.layers",
        above=("encoder.layer_norm", "adapter"),
        lora_targets=("linear_q", "linear_v"),
    ),
    "wav2vec2-bert": Encoder(
        "wav2vec2_bert",
        stem=(),
        layers="encoder.layers",
        above=("intermediate_ffn", "adapter"),
        lora_targets=("linear_q", "linear_v"),
    ),
    "whisper": Encoder(
        "encoder",
        stem=("conv1", "conv2"),
        layers="layers",
        above=("layer_norm",),
        lora_targets=_QUERY_VALUE,
    ),
    "audio-spectrogram-transformer": Encoder(
        "audio_spectrogram_transformer",
        stem=("embeddings.patch_embeddings",),
        layers="layers",
        above=("layernorm",),
        lora_targets=_QUERY_VALUE,
    ),
}


# Kaldi's frames, which the extractors of the spectrogram transformer and of wav2vec2-bert make:
# 25 ms every 10 ms, whole ones only. Whisper's are centered.
_FRAME = 400
_HOP = 160
_STACKED = 2  # frames that wav2vec2-bert's extractor stacks into one

_WHISPER = "whisper"
_SPECTROGRAM = "audio-spectrogram-transformer"
_FILTERBANK = "wav2vec2-bert"

# Extractors of the kinds that do not take waveforms.
_EXTRACTORS = {
    _WHISPER: WhisperFeatureExtractor,
    _SPECTROGRAM: ASTFeatureExtractor,
    _FILTERBANK: SeamlessM4TFeatureExtractor,
}


def encoder_config(config: PreTrainedConfig) -> PreTrainedConfig:
    """The configuration of the encoder itself."""
    return config.encoder if config.model_type == "ser_encoder" else config


def encoder_entry(config: PreTrainedConfig) -> Encoder:
    """The table entry of an encoder, adjusted to its settings.

    Raises:
        UserError: for a kind that is not in the table.
    """
    config = encoder_config(config)
    if config.model_type not in ENCODERS:
        raise UserError(
            f"model.checkpoint: unknown encoder {config.model_type!r}; "
            f"choose one of {', '.join(ENCODERS)}"
        )
    entry = ENCODERS[config.model_type]
    if getattr(config, "do_stable_layer_norm", False):
        # Norms stand before the attention, and the encoder has one after the last layer.
        entry = dataclasses.replace(entry, above=("encoder.layer_norm", *entry.above))
    return entry


def normalizes(config: PreTrainedConfig) -> bool:
    """Whether the stem normalizes over time (group norm, as in wav2vec2-base).

    Padding changes its statistics, and such checkpoints were trained without a mask, so the
    extractor returns none.
    """
    return getattr(encoder_config(config), "feat_extract_norm", "layer") == "group"


def mask_valid(config: PreTrainedConfig) -> bool:
    """Whether a padded clip with a mask gets the same logits as alone.

    False for group norm over time; for convolutions or batch norm over padding that is no longer
    zero (positions of data2vec, conformer layers, adapters, HuBERT's batch norm:
    huggingface/transformers#47739); and for SEW, which squeezes frames together. Whisper and the
    spectrogram transformer have a fixed length.
    """
    config = encoder_config(config)
    kind = config.model_type
    if normalizes(config):
        return False
    if kind == "wav2vec2-conformer" and config.conv_depthwise_kernel_size > 1:
        return False
    if kind == "data2vec-audio" and config.num_conv_pos_embeddings > 1:
        return False
    if getattr(config, "squeeze_factor", 1) > 1:
        return False
    return not (
        getattr(config, "conv_pos_batch_norm", False) or getattr(config, "add_adapter", False)
    )


def check_extractor(
    config: PreTrainedConfig, extractor: SequenceFeatureExtractor, checkpoint: str
) -> None:
    """Raise a `UserError` if an extractor does not make the inputs of the network."""
    config = encoder_config(config)
    kind = config.model_type
    where = f"model.checkpoint: the feature extractor of {checkpoint} (preprocessor_config.json)"
    expected = _EXTRACTORS.get(kind, Wav2Vec2FeatureExtractor)
    if not isinstance(extractor, expected):
        raise UserError(
            f"{where} is of class {type(extractor).__name__}, and {kind} needs "
            f"{expected.__name__}; use the file published with the encoder"
        )
    if not isinstance(extractor.sampling_rate, int | float):
        raise UserError(f"{where} has no sampling_rate")


def layerdrop_key(config: PreTrainedConfig) -> str | None:
    """The key of the share of layers that training skips at random, or None."""
    return modeling_pooled_encoder.layerdrop_key(encoder_config(config))


def shortest_clip(config: PreTrainedConfig) -> int:
    """Samples of the shortest waveform that extractor and encoder can process."""
    config = encoder_config(config)
    if config.model_type == _WHISPER:
        return 1
    if config.model_type == _SPECTROGRAM:
        return _FRAME
    if config.model_type == _FILTERBANK:
        # Two frames: its extractor divides each band by its deviation over the frames.
        return _FRAME + _HOP
    return shortest_waveform(config)


def longest_clip(config: PreTrainedConfig, extractor: SequenceFeatureExtractor) -> int | None:
    """Samples beyond which the extractor cuts a clip; None without a limit."""
    config = encoder_config(config)
    if config.model_type == _WHISPER:
        return extractor.n_samples
    if config.model_type == _SPECTROGRAM:
        return _FRAME + (extractor.max_length - 1) * _HOP
    return None


def shorten_window(
    config: PreTrainedConfig, extractor: SequenceFeatureExtractor, seconds: int
) -> None:
    """Set the length of Whisper's input, in its configuration and its extractor.

    `load_model` then keeps the position vectors of these seconds.

    Raises:
        UserError: for other encoders, and beyond the length of the checkpoint.
    """
    config = encoder_config(config)
    if config.model_type != _WHISPER:
        raise UserError(
            f"model.window: only Whisper's input can be shortened, not that of {config.model_type}"
        )
    if seconds > extractor.chunk_length:
        raise UserError(
            f"model.window: the checkpoint takes {extractor.chunk_length} s, got {seconds}; "
            "use less"
        )
    extractor.chunk_length = seconds
    extractor.n_samples = seconds * extractor.sampling_rate
    extractor.nb_max_frames = extractor.n_samples // extractor.hop_length
    # The second convolution of the stem halves the frames.
    config.max_source_positions = extractor.nb_max_frames // 2


def shortest_batch(config: PreTrainedConfig) -> int:
    """Samples to which a training batch must be padded for a SpecAugment span to fit.

    0 without masking.
    """
    config = encoder_config(config)
    if config.model_type in (_WHISPER, _SPECTROGRAM):
        return 0  # heads on Whisper's encoder do not mask
    if not getattr(config, "apply_spec_augment", True) or not config.mask_time_prob:
        return 0
    span = config.mask_time_length  # frames
    if config.model_type == _FILTERBANK:
        # Its extractor pads to whole stacks.
        return _FRAME + _STACKED * (span - 1) * _HOP
    # Frames are masked before any are squeezed into one.
    further = span - getattr(config, "squeeze_factor", 1)
    return shortest_waveform(config) + further * math.prod(config.conv_stride)


def lengths_needed(config: PreTrainedConfig) -> tuple[int, int]:
    """Samples of the shortest clip and of the shortest training batch, 0 without a limit."""
    kind = encoder_config(config).model_type
    if kind not in ENCODERS:
        return 0, 0
    # Our head lengthens short waveforms itself.
    head_lengthens = config.model_type == "ser_encoder" and kind not in (_FILTERBANK, _SPECTROGRAM)
    shortest = 0 if head_lengthens else shortest_clip(config)
    return shortest, shortest_batch(config)


def takes_waveforms(config: PreTrainedConfig) -> bool:
    """Whether an encoder has its own stem, which turns a mask of samples into one of frames."""
    return hasattr(encoder_config(config), "conv_kernel")


def has_fixed_length(config: PreTrainedConfig) -> bool:
    """Whether the input of an encoder has the same length for every clip."""
    return encoder_config(config).model_type in (_WHISPER, _SPECTROGRAM)
