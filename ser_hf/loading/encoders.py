"""The table of speech encoders, and the clip lengths that their configurations allow.

Each function takes the configuration of an encoder, or that of our head on an encoder. Numbers of
samples are at 16 kHz.
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

from ..models import Emotion2vecConfig, modeling_pooled_encoder
from ..models.modeling_pooled_encoder import shortest_waveform
from ..utils.errors import UserError


@dataclasses.dataclass(frozen=True)
class Encoder:
    """Names of the modules of an encoder, relative to the encoder.

    Args:
        name: attribute of the classifier that holds the encoder.
        stem: modules that compute frames; empty if the feature extractor computes them.
        layers: the list of transformer layers.
        above: modules that follow the layers.
        lora_targets: names of the linear layers that LoRA usually adapts.
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
        # WavLM's attention reads the weights of its projections and never calls these layers, so
        # an adapter on a projection would have no effect.
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
    # The only encoder that is a network of ser_hf: `ser_hf.models.modeling_emotion2vec`.
    Emotion2vecConfig.model_type: Encoder(
        "emotion2vec",
        stem=_STEM,
        layers="encoder.layers",
        above=(),
        lora_targets=_QUERY_VALUE,
    ),
}


# The extractors of the spectrogram transformer and of wav2vec2-bert compute frames as Kaldi does:
# 25 ms every 10 ms, complete frames only. Whisper's frames are centered.
_FRAME = 400
_HOP = 160
_STACKED = 2  # frames that wav2vec2-bert's extractor stacks into one

_WHISPER = "whisper"
_SPECTROGRAM = "audio-spectrogram-transformer"
_FILTERBANK = "wav2vec2-bert"

# Feature extractors of the encoders that do not take waveforms.
_EXTRACTORS = {
    _WHISPER: WhisperFeatureExtractor,
    _SPECTROGRAM: ASTFeatureExtractor,
    _FILTERBANK: SeamlessM4TFeatureExtractor,
}


def encoder_config(config: PreTrainedConfig) -> PreTrainedConfig:
    """The configuration of the encoder, also if `config` is that of our head on the encoder."""
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
        # The norms are before the attention, and one more norm follows the last layer.
        entry = dataclasses.replace(entry, above=("encoder.layer_norm", *entry.above))
    return entry


def normalizes(config: PreTrainedConfig) -> bool:
    """Whether the stem normalizes over time (group norm, as in wav2vec2-base).

    Padding changes the statistics of this norm. Such checkpoints were trained without a mask, so
    their extractor returns no mask.
    """
    return getattr(encoder_config(config), "feat_extract_norm", "layer") == "group"


def mask_valid(config: PreTrainedConfig) -> bool:
    """Whether a padded clip with a mask gets the same logits as without padding.

    The result is False for group norm over time; for convolutions or batch norm over padding that
    is no longer zero (position embeddings of data2vec, conformer layers, adapters, HuBERT's batch
    norm: huggingface/transformers#47739); and for SEW, which merges neighbouring frames. Inputs of
    Whisper and of the spectrogram transformer always have the same length.
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
    """Raise a `UserError` if the extractor does not produce the inputs of the network."""
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
    """The configuration key of layerdrop (share of layers skipped at random), None without one."""
    return modeling_pooled_encoder.layerdrop_key(encoder_config(config))


def shortest_clip(config: PreTrainedConfig) -> int:
    """The number of samples of the shortest waveform that extractor and encoder can process."""
    config = encoder_config(config)
    if config.model_type == _WHISPER:
        return 1
    if config.model_type == _SPECTROGRAM:
        return _FRAME
    if config.model_type == _FILTERBANK:
        # The extractor divides each band by its deviation over the frames, so it needs two frames.
        return _FRAME + _HOP
    return shortest_waveform(config)


def longest_clip(config: PreTrainedConfig, extractor: SequenceFeatureExtractor) -> int | None:
    """The number of samples after which the extractor cuts a clip; None without a limit."""
    config = encoder_config(config)
    if config.model_type == _WHISPER:
        return extractor.n_samples
    if config.model_type == _SPECTROGRAM:
        return _FRAME + (extractor.max_length - 1) * _HOP
    return None


def shorten_window(
    config: PreTrainedConfig, extractor: SequenceFeatureExtractor, seconds: int
) -> None:
    """Shorten Whisper's input to `seconds`, in its configuration and its extractor.

    `load_model` then keeps only the position vectors for this length.

    Raises:
        UserError: for other encoders, and if `seconds` exceeds the checkpoint's input length.
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
    """The smallest number of samples of a training batch in which a SpecAugment span fits.

    It is 0 for encoders that do not mask.
    """
    config = encoder_config(config)
    if config.model_type in (_WHISPER, _SPECTROGRAM):
        return 0  # heads on Whisper's encoder do not mask
    if not getattr(config, "apply_spec_augment", True) or not config.mask_time_prob:
        return 0
    span = config.mask_time_length  # frames
    if config.model_type == _FILTERBANK:
        # The extractor pads the frames to whole stacks.
        return _FRAME + _STACKED * (span - 1) * _HOP
    # Frames are masked before SEW merges neighbouring frames.
    missing_frames = span - getattr(config, "squeeze_factor", 1)
    return shortest_waveform(config) + missing_frames * math.prod(config.conv_stride)


def lengths_needed(config: PreTrainedConfig) -> tuple[int, int]:
    """The smallest numbers of samples of a clip and of a training batch; 0 means no limit."""
    kind = encoder_config(config).model_type
    if kind not in ENCODERS:
        return 0, 0
    # Our head pads short waveforms itself.
    head_lengthens = config.model_type == "ser_encoder" and kind not in (_FILTERBANK, _SPECTROGRAM)
    shortest = 0 if head_lengthens else shortest_clip(config)
    return shortest, shortest_batch(config)


def takes_waveforms(config: PreTrainedConfig) -> bool:
    """Whether an encoder takes waveforms: its convolutional stem then computes the frames."""
    return hasattr(encoder_config(config), "conv_kernel")


def has_fixed_length(config: PreTrainedConfig) -> bool:
    """Whether every input of an encoder has the same length, whatever the length of the clip."""
    return encoder_config(config).model_type in (_WHISPER, _SPECTROGRAM)
