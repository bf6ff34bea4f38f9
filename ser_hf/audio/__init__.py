"""Audio: decode, resample and measure once; read waveforms from a memory-mapped store ever after; change those that
train, anew each time."""

from typing import TYPE_CHECKING, Any

from .augmentation import Augmentation
from .decode import AudioError, decode
from .near_duplicates import NearDuplicate, near_duplicates
from .prepare import prepare
from .store import WaveformStore, open_store

if TYPE_CHECKING:
    from .augmentation import Augmenter

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


def __getattr__(name: str) -> Any:
    # Imported on first use, as scipy's filters take a while that decoding need not wait for.
    if name == "Augmenter":
        from .augmentation import Augmenter

        return Augmenter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
