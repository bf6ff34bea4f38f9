"""Decides whether validation selects the checkpoint of a training, or the last one is kept.

The scores of one voice change from epoch to epoch by more than the model does, and they are not
those of other voices. With few validation speakers, this noise would select the epoch. Such a
training therefore has a fixed length, and validation only measures it.
"""

from ..evaluation.bootstrap import is_unknown
from ..evaluation.degenerate import FEW_SELECTING
from ..protocols import Split
from ..training.settings import EarlyStopping


def keeps_last(settings: EarlyStopping, split: Split) -> bool:
    """Whether a training keeps its last checkpoint, whatever validation says.

    With `select: auto` this follows from the number of validation speakers. It is not so if a clip
    has an unknown speaker, because such clips may be of many voices, or with `patience`, because
    validation then ends the training.
    """
    if settings.select != "auto":
        return settings.select == "last"
    if settings.patience is not None:
        return False
    speakers = split.speakers["validation"]
    return len(speakers) <= FEW_SELECTING and not any(map(is_unknown, speakers))
