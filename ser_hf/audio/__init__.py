"""Audio: decoding, the memory-mapped waveform store, augmentation and near-duplicates."""

from .build_store import open_store, prepare
from .decode import AudioError, decode
from .store import WaveformStore

__all__ = ["AudioError", "WaveformStore", "decode", "open_store", "prepare"]
