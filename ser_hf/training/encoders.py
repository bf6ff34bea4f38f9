"""What each of transformers' speech encoders needs to be known of it, in one table, and what follows from its numbers.

Every function takes the configuration of an encoder, or that of our head on one. Samples are at 16 kHz, the rate of
all of them.
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
    """Where things stand in a kind of encoder, by names of modules relative to the encoder itself.

    Args:
        name: of the encoder within transformers' own classifier.
        stem: what makes frames of the input; none where the extractor does.
        layers: the list of transformer layers, bottom to top.
        above: what follows the layers; any that a configuration leaves out is missing.
        lora_targets: linear layers that are usually adapted, the query and value projections.
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
    # WavLM's attention reads the weights of its projections and never calls them: an adapter there would do nothing.
    "wavlm": Encoder("wavlm", _STEM, "encoder.layers", ("adapter",), ("intermediate_dense", "output_dense")),
    "unispeech": Encoder("unispeech", _STEM, "encoder.layers", (), _QUERY_VALUE),
    "unispeech-sat": Encoder("unispeech_sat", _STEM, "encoder.layers", (), _QUERY_VALUE),
    "data2vec-audio": Encoder("data2vec_audio", _STEM, "encoder.layers", ("adapter",), _QUERY_VALUE),
    "sew": Encoder("sew", _STEM, "encoder.layers", ("encoder.upsample",), _QUERY_VALUE),
    "sew-d": Encoder("sew_d", _STEM, "encoder.encoder.layer", ("encoder.upsample",), ("query_proj", "value_proj")),
    "wav2vec2-conformer": Encoder(
        "wav2vec2_conformer", _STEM, "encoder.layers", ("encoder.layer_norm", "adapter"), ("linear_q", "linear_v")
    ),
    "wav2vec2-bert": Encoder(
        "wav2vec2_bert", (), "encoder.layers", ("intermediate_ffn", "adapter"), ("linear_q", "linear_v")
    ),
    "whisper": Encoder("encoder", ("conv1", "conv2"), "layers", ("layer_norm",), _QUERY_VALUE),
    "audio-spectrogram-transformer": Encoder(
        "audio_spectrogram_transformer", ("embeddings.patch_embeddings",), "layers", ("layernorm",), _QUERY_VALUE
    ),
}


# Kaldi's frames, which the extractors of these two make: 25 ms every 10 ms, whole ones only. Whisper's are centred.
_FRAME, _HOP = 400, 160
_STACKED = 2  # frames that wav2vec2-bert's extractor stacks into one

_WHISPER, _SPECTROGRAM, _FILTERBANK = "whisper", "audio-spectrogram-transformer", "wav2vec2-bert"

# What makes the input of the kinds that do not hear the waveform itself.
_EXTRACTORS = {
    _WHISPER: WhisperFeatureExtractor,
    _SPECTROGRAM: ASTFeatureExtractor,
    _FILTERBANK: SeamlessM4TFeatureExtractor,
}


def encoder_config(config: PreTrainedConfig) -> PreTrainedConfig:
    """The configuration of the encoder itself, where `config` is that of our head on one."""
    return config.encoder if config.model_type == "ser_encoder" else config


def encoder_facts(config: PreTrainedConfig) -> Encoder:
    """The facts of a configuration's kind of encoder, with what its own settings change.

    Raises:
        UserError: for a kind that is not in the table.
    """
    config = encoder_config(config)
    if config.model_type not in ENCODERS:
        raise UserError(f"model.checkpoint: {config.model_type} is none of {', '.join(ENCODERS)}")
    facts = ENCODERS[config.model_type]
    if getattr(config, "do_stable_layer_norm", False):
        # Norms stand before the attention, and the encoder's own after the last layer.
        facts = dataclasses.replace(facts, above=("encoder.layer_norm", *facts.above))
    return facts


def normalizes(config: PreTrainedConfig) -> bool:
    """Whether the stem normalises over a clip's time (group norm, in wav2vec2-base and kin).

    Padding counts in its statistics, mask or none, and such checkpoints learnt without a mask: the extractor must give
    none, and where it scales a clip to zero mean and unit variance, it must do so before the clip is padded.
    """
    return getattr(encoder_config(config), "feat_extract_norm", "layer") == "group"


def mask_valid(config: PreTrainedConfig) -> bool:
    """Whether a clip that is padded under a mask gets the logits that it gets alone.

    Where it does not, padding reaches frames of the clip: through group norm over time; through convolutions that
    follow others (positions of data2vec, conformer layers, adapters) or batch norm (HuBERT's positions,
    huggingface/transformers#47739), so that zeros are no longer zero where they are heard; or because frames of clip
    and padding are squeezed into one (SEW). Whisper and the spectrogram transformer hear a fixed length anyway.
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


def stride(config: PreTrainedConfig) -> int:
    """Samples from one frame that leaves the encoder to the next."""
    config = encoder_config(config)
    if config.model_type == _WHISPER:
        return 2 * _HOP
    if config.model_type == _SPECTROGRAM:
        return config.time_stride * _HOP
    own = _STACKED * _HOP if config.model_type == _FILTERBANK else math.prod(config.conv_stride)
    if getattr(config, "add_adapter", False):
        own *= config.adapter_stride**config.num_adapter_layers
    return own


def check_extractor(config: PreTrainedConfig, extractor: SequenceFeatureExtractor, checkpoint: str) -> None:
    """Raises a `UserError` where an extractor does not make what the network hears: features of another kind, or of
    another size. Networks without an encoder of transformers hear waveforms."""
    config = encoder_config(config)
    kind = config.model_type
    ours = f"model.checkpoint: the feature extractor of {checkpoint} (preprocessor_config.json)"
    expected = _EXTRACTORS.get(kind, Wav2Vec2FeatureExtractor)
    if not isinstance(extractor, expected):
        raise UserError(
            f"{ours} is of class {type(extractor).__name__}, and {kind} needs {expected.__name__}; use the file that "
            "the encoder was published with"
        )
    if not isinstance(extractor.sampling_rate, int | float):
        raise UserError(f"{ours} does not say a sampling_rate")
    sizes = {}
    if kind == _WHISPER:
        sizes["num_mel_bins"] = (extractor.feature_size, config.num_mel_bins, "mel bands")
        frames = extractor.n_samples // extractor.hop_length
        sizes["max_source_positions"] = (frames, 2 * config.max_source_positions, "frames (chunk_length)")
    elif kind == _SPECTROGRAM:
        sizes["num_mel_bins"] = (extractor.num_mel_bins, config.num_mel_bins, "mel bands")
        sizes["max_length"] = (extractor.max_length, config.max_length, "frames (max_length)")
    elif kind == _FILTERBANK:
        features = extractor.num_mel_bins * extractor.stride
        sizes["feature_projection_input_dim"] = (features, config.feature_projection_input_dim, "features of a frame")
    for key, (made, heard, what) in sizes.items():
        if made != heard:
            raise UserError(f"{ours} makes {made} {what}, and by its {key} the encoder hears {heard}")


def layerdrop_key(config: PreTrainedConfig) -> str | None:
    """The key that says which share of layers training skips at random; None where it skips none."""
    return modeling_pooled_encoder.layerdrop_key(encoder_config(config))


def shortest_clip(config: PreTrainedConfig) -> int:
    """Samples of the shortest waveform that extractor and encoder make something of; beneath it they fail.

    wav2vec2-bert does worse: it answers, having masked all that there was.
    """
    config = encoder_config(config)
    if config.model_type == _WHISPER:
        return 1
    if config.model_type == _SPECTROGRAM:
        return _FRAME
    if config.model_type == _FILTERBANK:  # scales each band by its deviation over frames, of which one has none
        return _FRAME + _HOP
    return shortest_waveform(config)


def longest_clip(config: PreTrainedConfig, extractor: SequenceFeatureExtractor) -> int | None:
    """Samples beyond which the extractor cuts a clip off; None where it never does."""
    config = encoder_config(config)
    if config.model_type == _WHISPER:
        return extractor.n_samples
    if config.model_type == _SPECTROGRAM:
        return _FRAME + (extractor.max_length - 1) * _HOP
    return None


def shortest_batch(config: PreTrainedConfig) -> int:
    """Samples that a training batch must be padded to for a span of SpecAugment to fit in; 0 where none is drawn.

    With clips all shorter than `mask_time_length` frames (0.2 s at the stock 10), transformers raises.
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
    return shortest_waveform(config) + (frames - getattr(config, "squeeze_factor", 1)) * math.prod(config.conv_stride)


def lengths_needed(config: PreTrainedConfig) -> tuple[int, int]:
    """Samples of the shortest clip and of the shortest training batch that a network is to be given, 0 where any will
    do: networks of ours take all, and our head lengthens the waveforms that its encoder hears by itself."""
    kind = encoder_config(config).model_type
    if kind not in ENCODERS:
        return 0, 0
    lengthens = config.model_type == "ser_encoder" and kind not in (_FILTERBANK, _SPECTROGRAM)
    return 0 if lengthens else shortest_clip(config), shortest_batch(config)
