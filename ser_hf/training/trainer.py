"""The Trainer of ser_hf, which adds batches, parameter groups, averages and sealed checkpoints."""

import contextlib
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from datasets import Dataset
from safetensors import SafetensorError
from torch.utils.data import DataLoader, Sampler, SequentialSampler
from transformers import EvalPrediction, PreTrainedModel, Trainer
from transformers.trainer_callback import PrinterCallback, ProgressCallback, TrainerCallback
from transformers.trainer_utils import EvalLoopOutput, seed_worker

from ..evaluation.tasks import task_of_problem
from ..loading.batches import first_indices, merge, original_positions
from ..loading.encoders import ENCODERS, encoder_config, layerdrop_key
from ..utils.environment import MemoryLimit, return_freed_memory
from ..utils.errors import UserError
from .arguments import EmotionTrainingArguments
from .averaging import WeightAverage, broadcast_buffers
from .callbacks import StepBar, TrainingCounts, selecting_metric
from .checkpoints import StepSize, rotate, seal, write_error
from .collator import Collator
from .freezing import frozen_modules
from .loss import ClassificationLoss, Loss
from .optimizer import decayed_names
from .sampling import EpochBatches, EpochOrder, EpochSchedule
from .schedules import make_schedule
from .targets import TargetLayout, TargetsLoss, packed_outputs

logger = logging.getLogger(__name__)


class Bookkeeping(TrainerCallback):
    """Sets the epoch of collator and sampler, and keeps the learning rate of each group."""

    def __init__(self, clock: torch.Tensor):
        self.clock = clock
        self.rates: dict[str, float] = {}

    def on_epoch_begin(self, args, state, control, **kwargs):
        # The epoch is also set if a training resumes in the middle of an epoch.
        self.clock.fill_(int(state.epoch or 0))

    def on_optimizer_step(self, args, state, control, optimizer=None, **kwargs):
        groups = [group for group in optimizer.param_groups if "name" in group]
        self.rates = {group["name"]: float(group["lr"]) for group in groups}


class MemoryCallback(TrainerCallback):
    """Limits the growth of the process by gaps between freed blocks, see `MemoryLimit`."""

    def __init__(self):
        self.limit = MemoryLimit()

    def on_substep_end(self, args, state, control, **kwargs):
        self.limit.check()

    def on_step_end(self, args, state, control, **kwargs):
        self.limit.check()

    def on_prediction_step(self, args, state, control, **kwargs):
        self.limit.check()


class EmotionTrainer(Trainer):
    """A `Trainer` of waveform classifiers: deterministic batches, averages, sealed checkpoints.

    It also logs metrics of the training batches.

    Example: `ser_hf.EmotionTrainer(model, args, collator, clips, validation).train()`

    Args:
        clips, validation: from `ser_hf.clip_table`.
        loss: cross entropy by default.
        compute_metrics: computes metrics of the validation clips, whose windows are merged before.
        layout: of a model with several targets: their columns in the packed targets of the clips.
        further: other arguments of `Trainer`.
    """

    args: EmotionTrainingArguments

    def __init__(
        self,
        model: PreTrainedModel,
        args: EmotionTrainingArguments,
        collator: Collator,
        clips: Dataset,
        validation: Dataset,
        loss: Loss | TargetsLoss | None = None,
        compute_metrics: Callable[[EvalPrediction], dict[str, float]] | None = None,
        layout: TargetLayout | None = None,
        **further: Any,
    ):
        loss = loss or ClassificationLoss()
        self.layout = layout
        clip_metrics = None
        if compute_metrics is not None:
            clip_metrics = partial(self._clip_metrics, compute_metrics, loss)
        self.problem_type = model.config.problem_type
        self.has_one_label = task_of_problem(self.problem_type).one_label
        self.counts = TrainingCounts(model.config.num_labels)
        self.bookkeeping = Bookkeeping(collator.epoch)
        self.average: WeightAverage | None = None
        self.collator = collator
        self.planned_steps: int | None = None
        self.decayed = decayed_names(model)  # before FSDP flattens matrices
        self.frozen = frozen_modules(model)
        expect_unused(args, model)
        super().__init__(
            model=model,
            args=args,
            data_collator=collator,
            train_dataset=clips,
            eval_dataset=validation,
            compute_loss_func=partial(self._counted_loss, loss),
            compute_metrics=clip_metrics,
            preprocess_logits_for_metrics=partial(_packed_logits, layout),
            **further,
        )
        self.add_callback(self.bookkeeping)
        self.add_callback(MemoryCallback)
        if args.average:
            self.average = WeightAverage(self.model, args.average_decay)
            self.add_callback(self.average)
        if args.disable_tqdm:
            self.remove_callback(PrinterCallback)
        else:
            self.remove_callback(ProgressCallback)
            self.add_callback(StepBar)

    def _clip_metrics(
        self, compute_metrics: Callable, loss: Loss, predicted: EvalPrediction
    ) -> dict[str, float]:
        """Compute metrics and loss of the clips, after their windows are merged.

        The Trainer's loss is not used: it is a mean over batches of unequal size.
        """
        rows = self._evaluated["row"][:]
        lengths = self._evaluated["length"][:]
        positions = self._positions(self._evaluated)
        window_logits = predicted.predictions[positions]
        if self.layout is not None:
            _, logits = self.layout.merge(rows, lengths, window_logits)
        else:
            _, logits = merge(rows, lengths, window_logits, self.problem_type)
        labels = predicted.label_ids[positions][first_indices(rows)]
        value = loss({"logits": torch.as_tensor(logits)}, torch.as_tensor(labels)).item()
        return compute_metrics(EvalPrediction(logits, labels)) | {"loss": value}

    def evaluation_loop(self, dataloader: DataLoader, *args: Any, **kwargs: Any) -> EvalLoopOutput:
        """Evaluate; predictions are in the order of the clips.

        Freed memory is returned to the system before and after; this happens once per epoch.
        """
        self._evaluated = dataloader.dataset
        return_freed_memory()
        try:
            output = super().evaluation_loop(dataloader, *args, **kwargs)
        finally:
            return_freed_memory()
        if output.predictions is None:
            return output
        positions = self._positions(self._evaluated)
        return output._replace(
            predictions=output.predictions[positions], label_ids=output.label_ids[positions]
        )

    def _counted_loss(self, loss: Loss, outputs, labels, num_items_in_batch=None) -> torch.Tensor:
        if self.layout is not None:
            outputs = {"logits": packed_outputs(outputs)}
        if torch.is_grad_enabled() and self.has_one_label:
            self.counts.add(outputs["logits"].detach(), labels)
        return loss(outputs, labels, num_items_in_batch)

    def get_train_dataloader(self) -> DataLoader:
        """The loader of the training batches (`EpochBatches`) of this process."""
        clips = self.train_dataset
        arguments = self.args
        processes = max(1, arguments.world_size)
        order = EpochOrder(
            clips["length"][:],
            arguments.train_sampling_strategy,
            self._train_batch_size * processes * arguments.gradient_accumulation_steps,
            seed=arguments.seed,
            clock=self.collator.epoch,
            schedule=EpochSchedule(clips),
        )
        workers = arguments.dataloader_num_workers
        loader = DataLoader(
            clips,
            batch_sampler=EpochBatches(order, self._train_batch_size, processes),
            collate_fn=partial(self.collator, training=True),
            num_workers=workers,
            pin_memory=arguments.dataloader_pin_memory,
            prefetch_factor=arguments.dataloader_prefetch_factor,
            worker_init_fn=partial(seed_worker, num_workers=workers, rank=arguments.process_index),
        )
        return self.accelerator.prepare(loader)

    def compute_loss(
        self, model: torch.nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any
    ):
        """The loss of a batch; frozen modules run in evaluation mode."""
        if model.training:
            for module in self.frozen:
                module.eval()
        return super().compute_loss(model, inputs, *args, **kwargs)

    def get_eval_dataloader(self, eval_dataset: Dataset | None = None) -> DataLoader:
        """Batches of `get_test_dataloader`; by default of the validation clips."""
        return self.get_test_dataloader(self.eval_dataset if eval_dataset is None else eval_dataset)

    def get_test_dataloader(self, test_dataset: Dataset) -> DataLoader:
        """Batches of clips, see `EmotionTrainingArguments.evaluation_batches`.

        Several processes exchange batches of equal size, in the order of the clips.
        """
        arguments = self.args
        window_batches = self._evaluation_batches(test_dataset)
        if window_batches is None:
            return super().get_test_dataloader(test_dataset)
        loader = DataLoader(
            test_dataset,
            batch_sampler=window_batches,
            collate_fn=self.data_collator,
            num_workers=arguments.dataloader_num_workers,
            pin_memory=arguments.dataloader_pin_memory,
        )
        return self.accelerator.prepare(loader)

    def _evaluation_batches(self, clips: Dataset) -> list[list[int]] | None:
        """The indices of the clips of each batch; None for the order of the clips."""
        if self.args.world_size > 1:
            return None
        return self.args.evaluation_batches(clips["length"][:])

    def _positions(self, clips: Dataset) -> np.ndarray | slice:
        """The position of each clip in the outputs of all batches, (clips,)."""
        window_batches = self._evaluation_batches(clips)
        return slice(None) if window_batches is None else original_positions(window_batches)

    def _get_eval_sampler(self, eval_dataset: Dataset) -> Sampler:
        return SequentialSampler(eval_dataset)

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """The recipe's optimizer over named parameter groups."""
        if self.optimizer is None:
            model = self.model if model is None else model
            optimizer_class, settings = self.get_optimizer_cls_and_kwargs(self.args, model)
            if not takes_groups(optimizer_class, settings):
                return super().create_optimizer(model)
            groups = self.args.parameter_groups(model, self.decayed)
            self.optimizer = optimizer_class(groups, **settings)
        return self.optimizer

    @property
    def steps_per_epoch(self) -> int:
        """The number of optimizer steps of an epoch."""
        return self.args.steps_per_epoch(len(EpochSchedule(self.train_dataset)))

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ):
        """The recipe's learning rate schedule."""
        if self.lr_scheduler is None:
            # A training that ended early keeps the schedule of its planned steps.
            steps = self.planned_steps or num_training_steps
            self.lr_scheduler = make_schedule(
                self.args.schedule,
                self.optimizer if optimizer is None else optimizer,
                steps=steps,
                steps_per_epoch=self.steps_per_epoch,
                warmup_steps=self.args.get_warmup_steps(steps),
                kwargs=self.args.lr_scheduler_kwargs,
                greater_is_better=self.args.greater_is_better,
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Evaluate the weights that a checkpoint has: averaged, with the buffers of process 0."""
        with self._saved_weights():
            broadcast_buffers(self.model)
            return super().evaluate(*args, **kwargs)

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """Whether this checkpoint is the best by the mean metric of the last evaluations.

        Among equal checkpoints the last is the best. A checkpoint of the warm-up is never the best.
        With `keeps_last`, every checkpoint replaces the one before it.
        """
        state = self.state
        if state.global_step < min(self.args.get_warmup_steps(state.max_steps), state.max_steps):
            return False
        value = selecting_metric(self.args, state)
        best = state.best_metric
        if best is None or self.args.keeps_last:
            better = True
        else:
            better = value >= best if self.args.greater_is_better else value <= best
        if better:
            state.best_metric = value
            state.best_global_step = state.global_step
        return better

    def _saved_weights(self) -> contextlib.AbstractContextManager:
        return self.average.applied() if self.average else contextlib.nullcontext()

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """Write a checkpoint: the evaluated weights, the trained weights and, last, the marker."""
        checkpoint = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        with self._saved_weights():
            try:
                super()._save_checkpoint(model, trial)
                if self.average and self.args.should_save:
                    self.average.save(checkpoint)
                PartialState().wait_for_everyone()
                if self.args.should_save:
                    seal(checkpoint, self.step_size())
            except torch.OutOfMemoryError:
                raise
            except (OSError, RuntimeError, SafetensorError) as error:
                raise write_error(checkpoint, error) from error
        if self.args.should_save:
            rotate(checkpoint.parent, self.args.kept_checkpoints, self.state.best_global_step)

    def _save(
        self, output_dir: str | None = None, state_dict: dict[str, torch.Tensor] | None = None
    ) -> None:
        """Write weights under the model's own names.

        By default the library saves some kinds (the audio spectrogram transformer) under older
        names, and then silently fails to restore them from a checkpoint.
        """
        if isinstance(self.model, PreTrainedModel):
            self.model.save_pretrained = partial(
                self.model.save_pretrained, save_original_format=False
            )
        try:
            super()._save(output_dir, state_dict)
        finally:
            vars(self.model).pop("save_pretrained", None)

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Raise if a checkpoint does not hold exactly the model's tensors."""
        missing = set(load_result.missing_keys) - set(self.model._keys_to_ignore_on_save or ())
        if missing or load_result.unexpected_keys:
            raise RuntimeError(
                f"a checkpoint does not hold the model's tensors: {len(missing)} are missing, "
                f"{len(load_result.unexpected_keys)} are unknown "
                f"({', '.join(sorted(missing)[:3])}, ...)"
            )

    def step_size(self) -> StepSize:
        """The number of processes and of clips per step, to check when a checkpoint is resumed."""
        return StepSize(self.args.world_size, self.args.step_batch_size)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add metrics of the training batches and the rates of parameter groups."""
        if "loss" in logs:
            logs = logs | self.counts.scores()
            rates = self.bookkeeping.rates
            if len(rates) > 1:
                for name, rate in rates.items():
                    logs[f"learning_rate_{name.replace(' ', '_')}"] = rate
        super().log(logs, start_time)


def _packed_logits(layout: TargetLayout | None, outputs: Any, labels: torch.Tensor) -> torch.Tensor:
    """The outputs for all targets of a model; some heads return hidden states after them."""
    if not isinstance(outputs, tuple):
        return outputs
    if layout is None:
        return outputs[0]
    return torch.cat([output.float() for output in outputs], dim=1)[:, : layout.width]


def takes_groups(optimizer_class: Any, settings: dict[str, Any]) -> bool:
    """Whether an optimizer takes parameter groups; some select the parameters themselves."""
    if not (
        isinstance(optimizer_class, type) and issubclass(optimizer_class, torch.optim.Optimizer)
    ):
        return False
    return "params" not in settings


def expect_unused(args: EmotionTrainingArguments, model: torch.nn.Module) -> None:
    """Set `ddp_find_unused_parameters` for encoders, also under gradient checkpointing.

    The Trainer does not set it under gradient checkpointing. Encoders may skip layers at random
    (layerdrop), and a head or a setting may leave parameters unused (a norm, the mask's vector).

    Raises:
        UserError: for settings that need gradients of all parameters.
    """
    if encoder_config(model.config).model_type not in ENCODERS or args.world_size == 1:
        return
    if layerdrop_key(model.config):
        needs_all = {
            "ddp_find_unused_parameters": args.ddp_find_unused_parameters is False,
            "ddp_static_graph": args.ddp_static_graph is True,
        }
        for key, is_set in needs_all.items():
            if is_set:
                raise UserError(
                    f"training.{key}: with layerdrop some layers have no gradients in some steps; "
                    "leave it out"
                )
    if args.ddp_find_unused_parameters is None and not args.ddp_static_graph:
        args.ddp_find_unused_parameters = True
