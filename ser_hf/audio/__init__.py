"""Audio: decode, resample and measure once; read waveforms from a memory-mapped store ever after."""

from .decode import AudioError, decode
from .prepare import prepare
from .store import WaveformStore, open_store

__all__ = ["AudioError", "WaveformStore", "decode", "open_store", "prepare"]
