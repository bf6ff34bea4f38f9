"""Counts how many batches or waveforms are alive at one time, on any machine."""

import weakref
from collections.abc import Sequence

import numpy as np


class LiveCount:
    """The number of objects that are alive, the largest such number, and that of all objects."""

    def __init__(self):
        self.alive = 0
        self.most = 0
        self.all = 0

    def add(self, value):
        """Count a value until it is freed; returns the value."""
        self.alive += 1
        self.all += 1
        self.most = max(self.most, self.alive)
        weakref.finalize(value, self._remove)
        return value

    def _remove(self):
        self.alive -= 1


class CountedCollator:
    """A collator that counts its batches."""

    def __init__(self, collator):
        self.collator = collator
        self.count = LiveCount()

    def __getattr__(self, name):
        return getattr(self.collator, name)

    def __call__(self, clips, **options):
        batch = self.collator(clips, **options)
        self.count.add(batch["input_values"])
        return batch


class CountedWaveforms(Sequence):
    """Waveforms that are read anew each time, and counted."""

    def __init__(self, waveforms):
        self.waveforms = waveforms
        self.count = LiveCount()

    def __len__(self):
        return len(self.waveforms)

    def __getitem__(self, position):
        return self.count.add(np.array(self.waveforms[position]))
