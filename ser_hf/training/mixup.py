"""Mixes the waveforms and labels of a training batch (mixup)."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from ..audio.augmentation import Mixup


@dataclasses.dataclass(frozen=True)
class Mixing:
    """Mixup of waveforms (Zhang et al. 2018, arXiv:1710.09412).

    With a `probability`, a clip x1 with label y1 becomes ``lam * x1 + (1 - lam) * x2`` with the
    label ``lam * y1 + (1 - lam) * y2``. lam is drawn from Beta(alpha, alpha), and x2 is another
    recording of the same micro-batch. If there is no other recording, the clip does not change.
    """

    mixup: Mixup
    classes: int

    def __call__(
        self,
        waveforms: Sequence[np.ndarray],
        rows: Sequence[int],
        labels: np.ndarray,
        generator: np.random.Generator,
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Mix the waveforms and the labels of a batch.

        Args:
            rows: rows of the recordings, (batch,).
            labels: class ids (batch,), or shares of each class (batch, classes).

        Returns:
            The waveforms, and shares (batch, classes), float32.
        """
        shares = labels
        if labels.ndim == 1:
            shares = np.eye(self.classes, dtype=np.float32)[labels]
        rows = np.asarray(rows)
        # Draw numbers for all clips, so that those of a clip do not depend on the other clips.
        is_mixed = generator.random(len(rows)) < self.mixup.probability
        weights = generator.beta(self.mixup.alpha, self.mixup.alpha, len(rows))

        mixed = list(waveforms)
        mixed_shares = np.array(shares, dtype=np.float32)
        for i in np.flatnonzero(is_mixed):
            # Another crop of the same recording would be an echo.
            partners = np.flatnonzero(rows != rows[i])
            if len(partners):
                partner = generator.choice(partners)
                weight = weights[i]
                mixed[i] = mix(waveforms[i], waveforms[partner], weight)
                mixed_shares[i] = weight * shares[i] + (1 - weight) * shares[partner]
        return mixed, mixed_shares


def mix(first: np.ndarray, second: np.ndarray, weight: float) -> np.ndarray:
    """``weight * first + (1 - weight) * second``, float32, as long as the longer waveform."""
    mixed = np.zeros(max(len(first), len(second)), dtype=np.float32)
    mixed[: len(first)] = np.float32(weight) * first
    mixed[: len(second)] += np.float32(1 - weight) * second
    return mixed
