"""Configuration of our own head on any speech encoder of transformers."""

from typing import Any, ClassVar, Literal, get_args

from transformers import AutoConfig, PreTrainedConfig

Pooled = Literal["mean", "max", "mean_std", "attention", "attentive_stats"]


class PooledEncoderConfig(PreTrainedConfig):
    """Settings of `PooledEncoderForAudioClassification`.

    Args:
        encoder: configuration of the encoder, or its dictionary with a `model_type`; wav2vec2's own when absent.
        pooling: how a clip's frames become one vector, see `ser_hf.models.masked_layers.Pooling`.
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
