"""What each of transformers' speech encoders needs to be known of it, in one table."""

import dataclasses

from transformers import PreTrainedConfig

from ..errors import UserError


@dataclasses.dataclass(frozen=True)
class Encoder:
    """Where things stand in a kind of encoder, by names of modules relative to the encoder itself.

    Args:
        name: of the encoder within transformers' own classifier.
        stem: what makes frames of the input, before any layer.
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
    "wavlm": Encoder("wavlm", _STEM, "encoder.layers", ("adapter",), _QUERY_VALUE),
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
        "audio_spectrogram_transformer", ("embeddings",), "layers", ("layernorm",), _QUERY_VALUE
    ),
}


def encoder_facts(config: PreTrainedConfig) -> Encoder:
    """The facts of a configuration's kind of encoder, with what its own settings change.

    Raises:
        UserError: for a kind that is not in the table.
    """
    if config.model_type not in ENCODERS:
        raise UserError(f"model.checkpoint: {config.model_type} is none of {', '.join(ENCODERS)}")
    facts = ENCODERS[config.model_type]
    if getattr(config, "do_stable_layer_norm", False):
        # Norms stand before the attention, and the encoder's own after the last layer.
        facts = dataclasses.replace(facts, above=("encoder.layer_norm", *facts.above))
    return facts
