"""Audio: decoding, the memory-mapped waveform store, augmentation and near-duplicates."""

from .augmentation import Augmentation
from .augmenter import Augmenter
from .decode import AudioError, decode
from .near_duplicates import NearDuplicate, near_duplicates
from .store import WaveformStore, open_store, prepare

__all__ = [
    "Augmentation",
    "Augmenter",
    "AudioError",
    "NearDuplicate",
    "WaveformStore",
    "decode",
    "near_duplicates",
    "open_store",
    "prepare",
]
