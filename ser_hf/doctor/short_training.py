"""A short training of the recipe's network, without checkpoints, validation and augmentation."""

import dataclasses
import math
import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from datasets import Dataset
from transformers import Trainer

from ..experiment.clips import train_clips
from ..experiment.context import RunContext
from ..experiment.fitting import make_loss, trainable_model
from ..training.arguments import EmotionTrainingArguments, seed_everything
from ..training.collator import Collator
from ..training.fit import fit_statistics
from ..training.freezing import frozen_modules
from ..training.loss import class_ids
from ..training.sampling import recordings
from ..training.targets import packed_outputs
from ..training.trainer import takes_groups

# The learning rate rises in so many steps, as with the warm-up of a recipe.
_WARM_UP = 5
# The front end is standardized by at most so many clips.
_CLIPS_OF_STATISTICS = 128

Batch = dict[str, torch.Tensor]


@dataclasses.dataclass(frozen=True)
class Step:
    """The loss of clips, and the share whose class is predicted; None without classes."""

    loss: float
    accuracy: float | None


class ShortTraining:
    """The network, loss and optimizer of a recipe, in float32.

    Each parameter group has the learning rate of the recipe, which is constant after a short rise.
    Clips are cropped as in training, always at the same place.

    Args:
        run: a run with one fold.
        factor: all learning rates are multiplied by it.

    Raises:
        UserError: if every parameter is frozen.
    """

    def __init__(self, run: RunContext, factor: float = 1.0):
        self.run = run
        self.arguments = run.arguments()
        seed_everything(self.arguments.seed)
        self.clips = train_clips(run)
        self.model = trainable_model(run, self.clips).to(self.arguments.device)
        self.loss = make_loss(run, self.clips)
        plan = run.data.plan
        self.collator = Collator.for_model(
            self.model.config, run.data.store, plan.extractor, self.arguments.seed
        )
        if not plan.has_statistics:
            self._standardize()
        self.optimizer = _optimizer(self.model, self.arguments, factor)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: min(1.0, (step + 1) / _WARM_UP)
        )
        self.frozen = frozen_modules(self.model)

    def _standardize(self) -> None:
        """Compute the statistics of the front end from some of the training clips."""
        clips = recordings(self.clips)
        rows = np.linspace(0, len(clips) - 1, min(len(clips), _CLIPS_OF_STATISTICS)).astype(int)
        size = self.arguments.per_device_eval_batch_size
        fit_statistics(self.model, self.collator, clips.select(rows), size)

    def batches(self, clips: Dataset) -> list[Batch]:
        """Clips in batches of the size of the recipe, on the device."""
        size = self.arguments.per_device_train_batch_size
        batches = []
        for start in range(0, len(clips), size):
            rows = range(start, min(start + size, len(clips)))
            batch = self.collator([clips[row] for row in rows], training=True)
            batches.append(
                {name: values.to(self.arguments.device) for name, values in batch.items()}
            )
        return batches

    def step(self, batches: Sequence[Batch]) -> Step:
        """Make one step of the optimizer on all clips of the batches."""
        self.model.train()
        for module in self.frozen:
            module.eval()
        items = sum(batch["labels"].numel() for batch in batches)
        total = 0.0
        outputs = []
        self.optimizer.zero_grad()
        for batch in batches:
            packed = self._outputs(batch)
            loss = self.loss(packed, batch["labels"], items)
            loss.backward()
            total += float(loss.detach())
            outputs.append(packed["logits"].detach())
        trained = [
            parameter for group in self.optimizer.param_groups for parameter in group["params"]
        ]
        if self.arguments.max_grad_norm:
            torch.nn.utils.clip_grad_norm_(trained, self.arguments.max_grad_norm)
        self.optimizer.step()
        self.schedule.step()
        return Step(total, self._accuracy(batches, outputs))

    def evaluate(self, batches: Sequence[Batch]) -> Step:
        """The loss and the accuracy of clips in evaluation mode."""
        outputs = self.predict(batches)
        items = sum(batch["labels"].numel() for batch in batches)
        losses = [
            float(self.loss({"logits": logits}, batch["labels"], items))
            for logits, batch in zip(outputs, batches, strict=True)
        ]
        return Step(sum(losses), self._accuracy(batches, outputs))

    @torch.no_grad()
    def predict(self, batches: Sequence[Batch]) -> list[torch.Tensor]:
        """The outputs for each batch in evaluation mode, (clips, columns)."""
        self.model.eval()
        return [self._outputs(batch)["logits"] for batch in batches]

    def _outputs(self, batch: Batch) -> dict[str, torch.Tensor]:
        inputs = {name: values for name, values in batch.items() if name != "labels"}
        return {"logits": packed_outputs(self.model(**inputs))}

    def _accuracy(self, batches: Sequence[Batch], outputs: Sequence[torch.Tensor]) -> float | None:
        """The share of clips whose class is predicted; None unless a clip has one class."""
        if not self.run.task.one_label:
            return None
        classes = slice(0, len(self.run.data.labels))
        right = 0
        clips = 0
        for batch, logits in zip(batches, outputs, strict=True):
            targets = batch["labels"]
            expected = class_ids(targets if targets.dim() == 1 else targets[:, classes])
            right += int((logits[:, classes].argmax(dim=1) == expected).sum())
            clips += len(targets)
        return right / clips


def _optimizer(
    model: torch.nn.Module, arguments: EmotionTrainingArguments, factor: float
) -> torch.optim.Optimizer:
    """The optimizer of the recipe; AdamW in place of one that selects parameters by itself."""
    groups = arguments.parameter_groups(model)
    for group in groups:
        group["lr"] *= factor
    optimizer_class, settings = Trainer.get_optimizer_cls_and_kwargs(arguments, model)
    if not takes_groups(optimizer_class, settings):
        return torch.optim.AdamW(groups)
    return optimizer_class(groups, **settings)


def steps_within(seconds: float, most: int) -> Iterator[int]:
    """Count steps from 1 until the time or their number is up; the first step is always made."""
    end = time.perf_counter() + seconds
    for number in range(1, most + 1):
        yield number
        if time.perf_counter() > end:
            return


def is_finite(*losses: float) -> bool:
    """Whether losses are numbers, and neither infinite nor nan."""
    return all(math.isfinite(loss) for loss in losses)
