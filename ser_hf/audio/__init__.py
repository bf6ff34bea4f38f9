"""Audio: decode, resample and measure once; read waveforms from a memory-mapped store ever after."""

from .decode import AudioError, decode
from .duplicates import NearDuplicate, near_duplicates
from .prepare import prepare
from .store import WaveformStore, open_store

__all__ = ["AudioError", "NearDuplicate", "WaveformStore", "decode", "near_duplicates", "open_store", "prepare"]
