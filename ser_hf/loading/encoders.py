"""Facts about the speech encoders of transformers in one table, and lengths that follow from their
configuration.

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
    """Names of the parts of an encoder, relative to it: the stem (empty if the extractor makes
    frames), the list of layers, what follows them, and the linear layers that are usually adapted.
    """

    name: str
    stem: tuple[str, ...]
    layers: str
    above: tuple[str, ...]
    lora_targets: tuple[str, ...]


_STEM = ("feature_extractor",)
_QUERY_VALUE = ("q_proj", "v_proj")

# Configuration's model_type -> facts.
ENCODERS = {
    "wav2vec2": Encoder("wav2vec2", _STEM, "encoder.layers", ("adapter",), _QUERY_VALUE),
    "hubert": Encoder("hubert", _STEM, "encoder.layers", (), _QUERY_VALUE),
    # WavLM's attention reads the weights of its projections and never calls them: an adapter there
    # would do nothing.
    "wavlm": Encoder(
        "wavlm", _STEM, "encoder.layers", ("adapter",), ("intermediate_dense", "output_dense")
    ),
    "unispeech": Encoder("unispeech", _STEM, "encoder.layers", (), _QUERY_VALUE),
    "unispeech-sat": Encoder("unispeech_sat", _STEM, "encoder.layers", (), _QUERY_VALUE),
    "data2vec-audio": Encoder(
        "data2vec_audio", _STEM, "encoder.layers", ("adapter",), _QUERY_VALUE
    ),
    "sew": Encoder("sew", _STEM, "encoder.layers", ("encoder.upsample",), _QUERY_VALUE),
    "sew-d": Encoder(
        "sew_d", _STEM, "encoder.encoder.layer", ("encoder.upsample",), ("query_proj", "value_proj")
    ),
    "wav2vec2-conformer": Encoder(
        "wav2vec2_conformer",
        _STEM,
        "encoder.layers",
        ("encoder.layer_norm", "adapter"),
        ("linear_q", "linear_v"),
    ),
    "wav2vec2-bert": Encoder(
        "wav2vec2_bert",
        (),
        "encoder.layers",
        ("intermediate_ffn", "adapter"),
        ("linear_q", "linear_v"),
    ),
    "whisper": Encoder("encoder", ("conv1", "conv2"), "layers", ("layer_norm",), _QUERY_VALUE),
    "audio-spectrogram-transformer": Encoder(
        "audio_spectrogram_transformer",
        ("embeddings.patch_embeddings",),
        "layers",
        ("layernorm",),
        _QUERY_VALUE,
    ),
}


# Kaldi's frames, which the extractors of these two make: 25 ms every 10 ms, whole ones only.
# Whisper's are centered.
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


def encoder_facts(config: PreTrainedConfig) -> Encoder:
    """The table entry of an encoder, adjusted to its settings."""
    config = encoder_config(config)
    if config.model_type not in ENCODERS:
        raise UserError(
            f"model.checkpoint: unknown encoder {config.model_type!r}; choose one of {', '.join(ENCODERS)}"
        )
    facts = ENCODERS[config.model_type]
    if getattr(config, "do_stable_layer_norm", False):
        # Norms stand before the attention, and the encoder's own after the last layer.
        facts = dataclasses.replace(facts, above=("encoder.layer_norm", *facts.above))
    return facts


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
    return not (
        normalizes(config)
        or config.model_type == "wav2vec2-conformer"
        and config.conv_depthwise_kernel_size > 1
        or config.model_type == "data2vec-audio"
        and config.num_conv_pos_embeddings > 1
        or getattr(config, "conv_pos_batch_norm", False)
        or getattr(config, "squeeze_factor", 1) > 1
        or getattr(config, "add_adapter", False)
    )


def check_extractor(
    config: PreTrainedConfig, extractor: SequenceFeatureExtractor, checkpoint: str
) -> None:
    """Raise a `UserError` if an extractor does not make the inputs of the network."""
    config = encoder_config(config)
    kind = config.model_type
    ours = f"model.checkpoint: the feature extractor of {checkpoint} (preprocessor_config.json)"
    expected = _EXTRACTORS.get(kind, Wav2Vec2FeatureExtractor)
    if not isinstance(extractor, expected):
        raise UserError(
            f"{ours} is of class {type(extractor).__name__}, and {kind} needs {expected.__name__}; use the file "
            "published with the encoder"
        )
    if not isinstance(extractor.sampling_rate, int | float):
        raise UserError(f"{ours} has no sampling_rate")


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
    # scales each band by its deviation over frames, of which one has none
    if config.model_type == _FILTERBANK:
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
    """Set the length of Whisper's input, in its configuration and its extractor. `load_model` then
    keeps the position vectors of these seconds.

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
            f"model.window: the checkpoint takes {extractor.chunk_length} s, got {seconds}; use less"
        )
    extractor.chunk_length = seconds
    extractor.n_samples = seconds * extractor.sampling_rate
    extractor.nb_max_frames = extractor.n_samples // extractor.hop_length
    # its second convolution halves the frames
    config.max_source_positions = extractor.nb_max_frames // 2


def shortest_batch(config: PreTrainedConfig) -> int:
    """Samples to which a training batch must be padded for a SpecAugment span to fit; 0 without
    masking.
    """
    config = encoder_config(config)
    if config.model_type in (_WHISPER, _SPECTROGRAM):  # heads on Whisper's encoder draw none
        return 0
    if not getattr(config, "apply_spec_augment", True) or not config.mask_time_prob:
        return 0
    frames = config.mask_time_length
    if config.model_type == _FILTERBANK:  # pads to whole stacks
        return _FRAME + _STACKED * (frames - 1) * _HOP
    # Frames are masked before any are squeezed into one.
    return shortest_waveform(config) + (frames - getattr(config, "squeeze_factor", 1)) * math.prod(
        config.conv_stride
    )


def lengths_needed(config: PreTrainedConfig) -> tuple[int, int]:
    """Samples of the shortest clip and of the shortest training batch, 0 without a limit."""
    kind = encoder_config(config).model_type
    if kind not in ENCODERS:
        return 0, 0
    lengthens = config.model_type == "ser_encoder" and kind not in (_FILTERBANK, _SPECTROGRAM)
    return 0 if lengthens else shortest_clip(config), shortest_batch(config)


def takes_waveforms(config: PreTrainedConfig) -> bool:
    """Whether an encoder has its own stem, which turns a mask of samples into one of frames."""
    return hasattr(encoder_config(config), "conv_kernel")


def has_fixed_length(config: PreTrainedConfig) -> bool:
    """Whether the input of an encoder has the same length for every clip."""
    return encoder_config(config).model_type in (_WHISPER, _SPECTROGRAM)
