"""Audio: decoding, the memory-mapped waveform store, augmentation and near-duplicates."""

from .decode import AudioError, decode
from .store import WaveformStore, open_store, prepare

__all__ = ["AudioError", "WaveformStore", "decode", "open_store", "prepare"]
