"""The feature extractor of models that learnt from prepared waveforms: it prepares what it is given just so."""

from typing import Any

import numpy as np
from transformers import BatchFeature, Wav2Vec2FeatureExtractor

from .waveform_preparation import Preparation, prepare_waveform


class PreparedFeatureExtractor(Wav2Vec2FeatureExtractor):
    """`Wav2Vec2FeatureExtractor` behind a `Preparation`: each clip is prepared, then normalised and padded as ever.

    Args:
        trim_silence, level, target_level, fixed_duration: see `Preparation`; they stand in preprocessor_config.json.
        kwargs: those of `Wav2Vec2FeatureExtractor`.

    Raises:
        ValueError: naming the field, where a value can have no meaning.
    """

    def __init__(
        self,
        feature_size: int = 1,
        sampling_rate: int = 16000,
        padding_value: float = 0.0,
        return_attention_mask: bool = False,
        do_normalize: bool = True,
        trim_silence: float | None = None,
        level: str | None = None,
        target_level: float | None = None,
        fixed_duration: float | None = None,
        **kwargs: Any,
    ):
        super().__init__(feature_size, sampling_rate, padding_value, return_attention_mask, do_normalize, **kwargs)
        preparation = Preparation(trim_silence, level, target_level, fixed_duration)
        self.trim_silence = preparation.trim_silence
        self.level = preparation.level
        self.target_level = preparation.target_level
        self.fixed_duration = preparation.fixed_duration

    @classmethod
    def from_stock(cls, extractor: Wav2Vec2FeatureExtractor, preparation: Preparation) -> "PreparedFeatureExtractor":
        """This class with the stock extractor's settings and a preparation before them."""
        return cls.from_dict(_settings(extractor) | vars(preparation))

    def stock(self) -> Wav2Vec2FeatureExtractor:
        """The stock extractor without the preparation, for waveforms that are prepared already."""
        settings = _settings(self)
        return Wav2Vec2FeatureExtractor(**{key: settings[key] for key in settings if key not in vars(Preparation())})

    @property
    def preparation(self) -> Preparation:
        return Preparation(self.trim_silence, self.level, self.target_level, self.fixed_duration)

    def __call__(self, raw_speech: np.ndarray | list, *args: Any, **kwargs: Any) -> BatchFeature:
        """`raw_speech` is one mono clip, shape (samples,), or several, as the stock class takes them; so are the other
        arguments, and `truncation` and `padding` come after the preparation."""
        preparation = self.preparation
        if _several(raw_speech):
            prepared = [prepare_waveform(_mono(clip), self.sampling_rate, preparation) for clip in raw_speech]
        else:
            prepared = prepare_waveform(_mono(raw_speech), self.sampling_rate, preparation)
        return super().__call__(prepared, *args, **kwargs)


def _settings(extractor: Wav2Vec2FeatureExtractor) -> dict[str, Any]:
    """What makes an extractor, without what says which class it is."""
    settings = extractor.to_dict()
    return {key: settings[key] for key in settings if key not in ("feature_extractor_type", "auto_map")}


def _several(raw_speech: np.ndarray | list) -> bool:
    """The stock class's own rule."""
    if isinstance(raw_speech, np.ndarray):
        return raw_speech.ndim > 1
    return isinstance(raw_speech, list | tuple) and isinstance(raw_speech[0], np.ndarray | list | tuple)


def _mono(clip: np.ndarray | list) -> np.ndarray:
    samples = np.asarray(clip, dtype=np.float32)
    if samples.ndim != 1:
        raise ValueError(f"expected mono clips, one number per sample, got an array of shape {samples.shape}")
    return samples
