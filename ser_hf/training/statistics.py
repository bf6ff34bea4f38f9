"""Statistics of the training clips that a front end standardises by, counted before the first step."""

import logging

import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from ..models.front_end import FeatureNorm
from .balancing import recordings
from .batches import Collator

logger = logging.getLogger(__name__)


@torch.no_grad()
def fit_statistics(model: PreTrainedModel, collator: Collator, train: Dataset, batch_size: int = 32) -> None:
    """Counts mean and deviation of the training clips into every `FeatureNorm` that counts.

    One walk over the clips for each, in the order in which features pass them, since a later one sees what an earlier
    one made. Clips are cropped as in training, and not augmented: those that are judged are clean, and a recipe with
    augmentation and one without standardise alike. Each recording counts once, however often it is learnt from.
    Validation and test clips have no part in it. Every process counts them all, so that all agree.
    """
    norms = [m for m in model.modules() if isinstance(m, FeatureNorm) and m.counts]
    if not norms:
        return
    train = recordings(train)
    model.eval()  # no augmentation
    for norm in norms:
        norm.observing = True
        for batch in DataLoader(train, batch_size, collate_fn=collator):
            lengths = batch["attention_mask"].sum(dim=1)
            model.front_end(batch["input_values"].to(model.device), lengths.to(model.device))
        norm.settle()
    logger.info("front end standardised by %d training clips", len(train))
