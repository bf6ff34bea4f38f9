"""What the terminal shows while a model learns: a bar for steps, one line for each epoch."""

import logging
import math
import time

from transformers.trainer_callback import ProgressCallback, TrainerCallback

from ..errors import UserError

logger = logging.getLogger(__name__)


class StepBar(ProgressCallback):
    """The Trainer's progress bars, named, and without its printed dictionaries."""

    def on_train_begin(self, args, state, control, **kwargs):
        super().on_train_begin(args, state, control, **kwargs)
        if self.training_bar is not None:
            self.training_bar.set_description("training")

    def on_prediction_step(self, args, state, control, eval_dataloader=None, **kwargs):
        super().on_prediction_step(args, state, control, eval_dataloader=eval_dataloader, **kwargs)
        if self.prediction_bar is not None:
            self.prediction_bar.set_description("evaluating", refresh=False)

    def on_log(self, args, state, control, logs=None, **kwargs):
        pass


class EpochLines(TrainerCallback):
    """One readable line per evaluation; keeps the seconds of each epoch, its validation not counted."""

    def __init__(self, metric: str):
        self.metric = metric
        self.epoch_seconds: list[float] = []
        self._loss = float("nan")

    def on_epoch_begin(self, args, state, control, **kwargs):
        self._began = time.perf_counter()

    def on_epoch_end(self, args, state, control, **kwargs):
        self.epoch_seconds.append(time.perf_counter() - self._began)

    def on_log(self, args, state, control, logs=None, **kwargs):
        self._loss = (logs or {}).get("loss", self._loss)

    def on_evaluate(self, args, state, control, metrics=None, **kwargs):
        if not metrics or "eval_uar" not in metrics:
            return
        if not math.isfinite(metrics["eval_loss"]):
            raise UserError(
                f"training.learning_rate: training diverged (validation loss {metrics['eval_loss']} after epoch "
                f"{state.epoch:g}); lower it, or training.head_learning_rate"
            )
        if not state.is_world_process_zero:
            return
        value, best = metrics[f"eval_{self.metric}"], state.best_metric
        better = best is None or (value < best if self.metric == "loss" else value > best)
        logger.info(
            "epoch %5.1f/%g  train loss %.3f  validation loss %.3f  UAR %.3f  macro-F1 %.3f%s%s",
            state.epoch or 0,
            state.num_train_epochs,
            self._loss,
            metrics["eval_loss"],
            metrics["eval_uar"],
            metrics["eval_macro_f1"],
            f"  {self.epoch_seconds[-1]:.1f} s" if self.epoch_seconds else "",
            "  *" if better else "",
        )
