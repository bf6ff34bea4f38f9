"""Mixup: training clips of a batch mixed in pairs, and their labels in the same shares."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from ..audio.augmentation import Mixup
from .sampling import UNCOUNTED


@dataclasses.dataclass(frozen=True)
class Mixing:
    """Mixup of waveforms (Zhang et al. 2018, arXiv:1710.09412), before any features are made of them.

    A clip x1 with the label y1 becomes ``lam * x1 + (1 - lam) * x2``, its label ``lam * y1 + (1 - lam) * y2``: a
    `probability` of the clips, each with a share lam of its own from Beta(alpha, alpha) and a partner from its batch,
    any other recording, or one of the same or of another speaker. Where the batch has none the clip stays as it is.

    Shares weigh amplitudes as they stand in the recordings: of a loud and a soft clip the loud one is heard for more
    than its share, which between-class learning (Tokozume et al. 2018, arXiv:1711.10282) would even out by level; the
    level is left in because it is an emotion cue. A shorter clip has silence after it, and is mixed in for its share
    all the same.

    Partners come from the clips that one process has in one batch. So, as with the contrastive loss, accumulation and
    several processes change who is mixed with whom.

    Args:
        classes: how many labels there are.
        speakers: of each row of the corpus, shape (rows,).
    """

    mixup: Mixup
    classes: int
    speakers: np.ndarray

    def __call__(
        self,
        waveforms: Sequence[np.ndarray],
        rows: Sequence[int],
        shares: np.ndarray,
        generator: np.random.Generator,
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Waveforms and shares of a batch -> those of the mixed batch, float32.

        Args:
            waveforms: float32 (samples,) each.
            rows: of the corpus, one a clip.
            shares: (batch, classes), from `one_hot` or votes; clips at `UNCOUNTED` are not mixed, and nobody's
                partner.
        """
        partners, own_shares = self.draw(rows, shares[:, 0] != UNCOUNTED, generator)
        mixed, labels = list(waveforms), np.array(shares, dtype=np.float32)
        for i, (partner, share) in enumerate(zip(partners, own_shares, strict=True)):
            if partner is not None:
                mixed[i] = mix(waveforms[i], waveforms[partner], share)
                labels[i] = share * shares[i] + (1 - share) * shares[partner]
        return mixed, labels

    def draw(
        self, rows: Sequence[int], counted: np.ndarray, generator: np.random.Generator
    ) -> tuple[list[int | None], list[float]]:
        """For each clip its partner's place in the batch, None for no partner, and its own share in the mixture."""
        rows = np.asarray(rows)
        speakers = np.asarray(self.speakers)[rows]
        happens = counted & (generator.random(len(rows)) < self.mixup.probability)
        shares = generator.beta(self.mixup.alpha, self.mixup.alpha, len(rows))
        partners: list[int | None] = []
        for i in range(len(rows)):
            possible = counted & (rows != rows[i])  # a copy of the clip itself would be an echo
            if self.mixup.speakers != "any":
                possible &= (speakers == speakers[i]) == (self.mixup.speakers == "same")
            places = np.flatnonzero(possible)
            partners.append(int(generator.choice(places)) if happens[i] and len(places) else None)
        return partners, shares.tolist()


def mix(first: np.ndarray, second: np.ndarray, share: float) -> np.ndarray:
    """``share * first + (1 - share) * second``, float32, as long as the longer one."""
    mixed = np.zeros(max(len(first), len(second)), dtype=np.float32)
    mixed[: len(first)] = np.float32(share) * first
    mixed[: len(second)] += np.float32(1 - share) * second
    return mixed


def one_hot(labels: Sequence[int], classes: int) -> np.ndarray:
    """Class ids -> shares (batch, classes), float32; `UNCOUNTED` is a row of itself."""
    labels = np.asarray(labels)
    shares = np.zeros((len(labels), classes), dtype=np.float32)
    counted = labels != UNCOUNTED
    shares[np.flatnonzero(counted), labels[counted]] = 1.0
    shares[~counted] = UNCOUNTED
    return shares
