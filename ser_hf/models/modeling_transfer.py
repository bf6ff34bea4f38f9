"""What networks transferred from other tasks share: a pretrained trunk under a new head."""

from torch import nn

from .modeling_acoustic import AcousticClassifier


class TransferClassifier(AcousticClassifier):
    """A waveform classifier whose `encoder` has published weights.

    A network makes `front_end`, `encoder`, `classifier` and what it pools with. `encoder.layers` lists its blocks from
    the bottom to the top, so that it can be frozen, thawed and given learning rates by depth; nothing in it but those
    blocks has weights.
    """

    encoder: nn.Module
