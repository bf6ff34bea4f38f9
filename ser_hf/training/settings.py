"""The recipe's section `training`: keys of ser_hf, and the keys of `TrainingArguments`.

Every key of `TrainingArguments` is either a field of `TrainingSettings` or in `MANAGED`. Nothing
here imports torch or transformers, because a recipe is checked before they are loaded.
"""

import dataclasses
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ..utils.settings import OpenShare, Positive, PositiveInt, Seeds, Settings, Share

Rate = Annotated[float, Field(gt=0, le=100)]
Weight = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
BatchSize = Annotated[int, Field(ge=1, le=65_536)]
# A number of steps, or below 1 a share of all steps.
Steps = Annotated[float, Field(gt=0, le=1e9)]
Schedule = Literal[
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
    "reduce_lr_on_plateau",
    "cosine_with_min_lr",
    "cosine_warmup_with_min_lr",
    "warmup_stable_decay",
    "greedy",
    "one_cycle",
    "step",
    "multi_step",
]
Strategy = Literal["no", "steps", "epoch"]

# Why a recipe may not set a key of `TrainingArguments`.
_RESUME = "use --resume"
_ACCELERATE = "use a file of recipes/accelerate"
_HUB = "use hub"
_PRECISION = "use training.precision"
_SELECTION = "use training.early_stopping"
_RUN = "the run sets it; leave it out"
_LANGUAGE = "it is for language models; leave it out"
MANAGED = {
    "output_dir": "use the top-level key output_dir",
    "logging_dir": "use the top-level key output_dir",
    "seed": "use training.seeds",
    "data_seed": "use training.seeds",
    "load_best_model_at_end": _SELECTION,
    "metric_for_best_model": _SELECTION,
    "greater_is_better": _SELECTION,
    "label_smoothing_factor": "use training.loss.label_smoothing",
    "full_determinism": "use training.deterministic",
    "bf16": _PRECISION,
    "fp16": _PRECISION,
    "tf32": _PRECISION,
    "bf16_full_eval": _PRECISION,
    "fp16_full_eval": _PRECISION,
    "resume_from_checkpoint": _RESUME,
    "ignore_data_skip": _RESUME,
    "restore_callback_states_from_checkpoint": _RESUME,
    "save_only_model": _RESUME,
    "fsdp": _ACCELERATE,
    "fsdp_config": _ACCELERATE,
    "deepspeed": _ACCELERATE,
    "accelerator_config": _ACCELERATE,
    "local_rank": _ACCELERATE,
    "push_to_hub": _HUB,
    "hub_model_id": _HUB,
    "hub_strategy": _HUB,
    "hub_private_repo": _HUB,
    "hub_always_push": _HUB,
    "hub_revision": _HUB,
    "hub_token": _HUB,
    "remove_unused_columns": _RUN,
    "label_names": _RUN,
    "dataloader_persistent_workers": _RUN,
    "average_tokens_across_devices": _RUN,
    "log_level": _RUN,
    "log_level_replica": _RUN,
    "length_column_name": _RUN,
    "prediction_loss_only": _RUN,
    "include_for_metrics": _RUN,
    "batch_eval_metrics": _RUN,
    "eval_do_concat_batches": _RUN,
    "do_train": _RUN,
    "do_eval": _RUN,
    "do_predict": _RUN,
    "parallelism_config": _LANGUAGE,
    "neftune_noise_alpha": _LANGUAGE,
    "use_liger_kernel": _LANGUAGE,
    "liger_kernel_config": _LANGUAGE,
    "optim_target_modules": _LANGUAGE,
    "gradient_checkpointing": "use training.activation_checkpointing, its new name",
    "gradient_checkpointing_kwargs": "use training.activation_checkpointing_kwargs, its new name",
    "auto_find_batch_size": "use training.auto_batch_size",
    "dataloader_drop_last": "every clip is used; leave it out",
}


class EarlyStopping(Settings):
    """How validation selects the checkpoint, and when training ends.

    The checkpoint with the best mean of the metric over the last evaluations is selected, the
    later one among equals, and none of the warm-up. With `select: last`, validation only measures.
    """

    select: Annotated[
        Literal["auto", "best", "last"],
        Field(
            description="checkpoint to keep: the best on validation, or the last one; auto: the "
            "last one if validation has at most three speakers and there is no patience"
        ),
    ] = "auto"
    metric: Annotated[
        str | None,
        Field(
            description="validation metric; null: UAR, the mean CCC of dimensions, their mean "
            "(uar_ccc) for both, or the macro-F1 of sets of labels"
        ),
    ] = None
    patience: Annotated[
        PositiveInt | None,
        Field(description="training ends after so many evaluations without a gain; null: never"),
    ] = None
    evaluations: Annotated[
        PositiveInt, Field(description="how many evaluations the metric is averaged over")
    ] = 3

    @model_validator(mode="after")
    def _check_patience(self) -> Self:
        if self.select == "last" and self.patience is not None:
            raise ValueError(
                "patience: ends a training by validation, which select: last does not use; leave "
                "out one of the two"
            )
        return self


class LossSettings(Settings):
    """The loss: cross entropy of classes, and of dimensions the CCC or the squared error."""

    class_weights: Annotated[
        Literal["balanced"] | dict[str, Weight] | None,
        Field(description="weight of each class by label, or `balanced`: inverse to its frequency"),
    ] = None
    label_smoothing: Annotated[
        Share, Field(description="share of the target that is spread over all classes")
    ] = 0.0
    focal_gamma: Annotated[
        float, Field(ge=0, le=100, description="exponent of the focal loss; 0 is cross entropy")
    ] = 0.0
    soft_labels: Annotated[
        bool,
        Field(description="use the raters' votes as targets; `corpus.soft: true` loads them"),
    ] = False
    dimensions: Annotated[
        Literal["ccc", "mse", "ccc_mse"],
        Field(description="loss of dimensions: 1 - CCC of each batch, the squared error, or both"),
    ] = "ccc"
    weights: Annotated[dict[str, Weight], Field(description="weight of each dimension")] = {}
    task_weights: Annotated[
        dict[Literal["emotions", "dimensions"], Weight],
        Field(
            description="for the task emotions+dimensions: weight of the loss of the emotions and "
            "of the dimensions; 1 each by default"
        ),
    ] = {}
    auxiliary: Annotated[
        dict[Literal["sex", "age_group"], Positive],
        Field(
            description="auxiliary targets and the weights of their losses, such as {sex: 0.1}; "
            "they are trained only, and the published model has no head for them"
        ),
    ] = {}


class AverageSettings(Settings):
    """Averaged weights, which validation evaluates in place of the last ones."""

    kind: Annotated[
        Literal["ema"] | None,
        Field(description="`ema`: exponential moving average of the weights; null: none"),
    ] = None
    decay: Annotated[OpenShare, Field(description="share of the average that a step keeps")] = 0.999

    @model_validator(mode="after")
    def _check_decay(self) -> Self:
        if self.kind is None and self.decay != type(self).model_fields["decay"].default:
            raise ValueError("decay: belongs to kind ema; leave it out")
        return self


class DropSettings(Settings):
    """What the schedules `step` and `multi_step` have in common."""

    gamma: Annotated[
        float, Field(gt=0, le=1, description="factor of the learning rate at each drop")
    ] = 0.1
    unit: Annotated[
        Literal["epochs", "steps"], Field(description="unit in which the drops are counted")
    ] = "epochs"


class StepSettings(DropSettings):
    """`lr_scheduler_kwargs` of the schedule `step`: the rate falls at equal distances."""

    step_size: Annotated[PositiveInt, Field(description="epochs or steps from drop to drop")]


class MultiStepSettings(DropSettings):
    """`lr_scheduler_kwargs` of the schedule `multi_step`: the rate falls at each milestone."""

    milestones: Annotated[
        list[PositiveInt],
        Field(min_length=1, description="epochs or steps after which the rate falls"),
    ]

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.milestones != sorted(set(self.milestones)):
            raise ValueError(f"milestones: expected rising numbers, got {self.milestones}")
        return self


class TrainerSettings(Settings):
    """The keys of `TrainingArguments`, with their names there.

    Null leaves a choice to the machine, to the network or to transformers.
    """

    learning_rate: Annotated[Rate, Field(description="largest learning rate")] = 1.0e-3
    num_train_epochs: Annotated[
        float, Field(gt=0, le=100_000, description="passes over the training clips")
    ] = 30.0
    max_steps: Annotated[
        int, Field(ge=-1, le=10**9, description="steps in place of epochs; -1: epochs decide")
    ] = -1
    per_device_train_batch_size: Annotated[
        BatchSize, Field(description="clips of a training batch on each device")
    ] = 16
    per_device_eval_batch_size: Annotated[
        BatchSize, Field(description="clips of an evaluation batch on each device")
    ] = 32
    gradient_accumulation_steps: Annotated[
        Count, Field(description="batches whose gradients one step adds up")
    ] = 1
    max_grad_norm: Annotated[
        Weight, Field(le=1e9, description="largest norm of the gradient; longer ones are scaled")
    ] = 1.0
    weight_decay: Annotated[
        Weight, Field(le=1e9, description="decay of the weights, not of biases and norms")
    ] = 0.01
    lr_scheduler_type: Annotated[Schedule, Field(description="learning rate schedule")] = "cosine"
    lr_scheduler_kwargs: Annotated[
        dict[str, Any] | None,
        Field(
            description="arguments of the schedule, such as `{step_size: 10, gamma: 0.5}` of `step`"
        ),
    ] = None
    warmup_steps: Annotated[
        Annotated[float, Field(ge=0, le=1e9)] | None,
        Field(
            description="steps in which the rate rises, or their share below 1; null: 0.05, and 0 "
            "for schedules without a warm-up"
        ),
    ] = None
    optim: Annotated[str, Field(description="name of the optimizer in transformers")] = (
        "adamw_torch_fused"
    )
    optim_args: Annotated[
        str | None, Field(description="arguments of the optimizer, as `a=1,b=2`")
    ] = None
    adam_beta1: Annotated[Share, Field(description="decay of Adam's first moment")] = 0.9
    adam_beta2: Annotated[Share, Field(description="decay of Adam's second moment")] = 0.999
    adam_epsilon: Annotated[
        float, Field(ge=0, le=1, description="added to the root of Adam's second moment")
    ] = 1e-8
    train_sampling_strategy: Annotated[
        Literal["random", "group_by_length", "sequential"] | None,
        Field(
            description="order of the training clips; null: group_by_length for encoders, random "
            "for other networks"
        ),
    ] = None
    eval_strategy: Annotated[Strategy, Field(description="when validation evaluates")] = "epoch"
    eval_steps: Annotated[
        Steps | None, Field(description="steps between evaluations, or their share below 1")
    ] = None
    eval_delay: Annotated[
        float, Field(ge=0, le=1e9, description="epochs or steps before the first evaluation")
    ] = 0.0
    eval_on_start: Annotated[bool, Field(description="evaluate before the first step")] = False
    eval_accumulation_steps: Annotated[
        Count | None,
        Field(description="batches after which predictions move from the device to memory"),
    ] = None
    eval_use_gather_object: Annotated[
        bool, Field(description="gather nested predictions of several processes")
    ] = False
    save_strategy: Annotated[
        Literal["no", "steps", "epoch", "best"], Field(description="when a checkpoint is saved")
    ] = "epoch"
    save_steps: Annotated[
        Steps, Field(description="steps between checkpoints, or their share below 1")
    ] = 500.0
    save_total_limit: Annotated[
        Count | None, Field(description="checkpoints that are kept beside the best one")
    ] = 2
    save_on_each_node: Annotated[
        bool, Field(description="save on each machine, not on the first only")
    ] = False
    enable_jit_checkpoint: Annotated[
        bool, Field(description="save a checkpoint when the process receives SIGTERM")
    ] = False
    logging_strategy: Annotated[Strategy, Field(description="when the loss is logged")] = "epoch"
    logging_steps: Annotated[
        Steps, Field(description="steps between log lines, or their share below 1")
    ] = 500.0
    logging_first_step: Annotated[bool, Field(description="log the first step too")] = False
    logging_nan_inf_filter: Annotated[
        bool, Field(description="leave nan and infinite losses out of the log")
    ] = True
    log_on_each_node: Annotated[bool, Field(description="log on each machine")] = True
    disable_tqdm: Annotated[
        bool | None, Field(description="no progress bars; null: none without a terminal")
    ] = None
    report_to: Annotated[
        str | list[str] | None,
        Field(description="trackers: tensorboard, trackio, wandb, or a list; `none` for none"),
    ] = "none"
    run_name: Annotated[str | None, Field(description="name of the run in trackers")] = None
    project: Annotated[str, Field(description="Trackio's project")] = "ser_hf"
    trackio_space_id: Annotated[str | None, Field(description="Trackio's Space on the Hub")] = None
    trackio_bucket_id: Annotated[str | None, Field(description="Trackio's bucket on the Hub")] = (
        None
    )
    trackio_static_space_id: Annotated[
        str | Literal[False] | None,
        Field(description="Space for Trackio's finished runs; false: none is created"),
    ] = False
    activation_checkpointing: Annotated[
        bool | None,
        Field(
            description="save memory of encoders: compute activations twice (known as gradient "
            "checkpointing too)"
        ),
    ] = None
    activation_checkpointing_kwargs: Annotated[
        dict[str, Any] | str | None, Field(description="arguments of activation checkpointing")
    ] = None
    torch_compile: Annotated[
        bool,
        Field(description="compile an encoder with torch.compile, which needs a C++ compiler"),
    ] = False
    torch_compile_backend: Annotated[
        str | None, Field(description="backend of torch.compile; null: inductor")
    ] = None
    torch_compile_mode: Annotated[
        Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"] | None,
        Field(description="mode of torch.compile"),
    ] = None
    use_cpu: Annotated[bool | None, Field(description="train on the CPU; null: without a GPU")] = (
        None
    )
    dataloader_num_workers: Annotated[
        Annotated[int, Field(ge=0, le=256)] | None,
        Field(description="processes that prepare batches; null: by the cores, none on a CPU"),
    ] = None
    dataloader_pin_memory: Annotated[
        bool | None, Field(description="pinned memory for batches; null: with a GPU")
    ] = None
    dataloader_prefetch_factor: Annotated[
        Annotated[int, Field(ge=1, le=10_000)] | None,
        Field(description="batches that each worker prepares ahead"),
    ] = None
    dataloader_multiprocessing_context: Annotated[
        Literal["fork", "forkserver", "spawn"] | None, Field(description="how workers are started")
    ] = None
    dataloader_in_order: Annotated[bool, Field(description="use batches in their order")] = True
    ddp_find_unused_parameters: Annotated[
        bool | None,
        Field(description="allow parameters without a gradient; null: for encoders only"),
    ] = None
    ddp_bucket_cap_mb: Annotated[
        Annotated[int, Field(ge=1, le=10_000)] | None,
        Field(description="megabytes of gradients that processes exchange at once"),
    ] = None
    ddp_broadcast_buffers: Annotated[
        bool | None, Field(description="send buffers to all processes in each step")
    ] = None
    ddp_static_graph: Annotated[
        bool | None, Field(description="the same parameters have gradients in every step")
    ] = None
    ddp_backend: Annotated[
        str | None, Field(description="nccl, gloo, ...; null: by the device")
    ] = None
    # Processes wait for the first one, which evaluates and writes reports.
    ddp_timeout: Annotated[
        int, Field(ge=1, le=10**7, description="seconds that processes wait for one another")
    ] = 6 * 3600
    torch_empty_cache_steps: Annotated[
        Count | None, Field(description="steps after which the device's cache is emptied")
    ] = None
    use_cache: Annotated[
        bool, Field(description="an option for models that generate text; without effect")
    ] = False
    include_num_input_tokens_seen: Annotated[
        Literal["all", "non_padding", "no"] | bool, Field(description="count inputs in the log")
    ] = "no"
    debug: Annotated[str | list[str], Field(description="transformers' debug options")] = ""
    skip_memory_metrics: Annotated[
        bool, Field(description="no measurement of memory, which slows a run down")
    ] = True

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of `TrainingArguments`, without null."""
        return _without_null({name: getattr(self, name) for name in TrainerSettings.model_fields})


# Its subclasses, a pydantic model and a dataclass, have an __init__ of their own.
@dataclasses.dataclass(init=False, repr=False, eq=False)
class EmotionTrainerSettings:
    """Keys of ser_hf that are also fields of `EmotionTrainingArguments`, with the same names.

    `EmotionTrainer` reads a field of this class from its `args`; nothing else passes it on.
    """

    head_learning_rate: Annotated[
        Rate | None, Field(description="learning rate of everything outside an encoder")
    ] = None
    layer_decay: Annotated[
        Annotated[float, Field(gt=0, le=1)] | None,
        Field(description="factor of the learning rate from each layer to the one below"),
    ] = None


class TrainingSettings(EmotionTrainerSettings, TrainerSettings):
    """Training: keys of ser_hf, and those of transformers' `TrainingArguments`."""

    seeds: Annotated[Seeds, Field(description="one training with each seed")] = [42]
    loss: Annotated[LossSettings, Field(description="the loss")] = LossSettings()
    early_stopping: Annotated[
        EarlyStopping, Field(description="selection of the checkpoint, and the end of training")
    ] = EarlyStopping()
    average: Annotated[AverageSettings, Field(description="averaged weights")] = AverageSettings()
    precision: Annotated[
        Literal["auto", "fp32", "tf32", "bf16", "fp16"],
        Field(description="number format; auto: the fastest that the device computes natively"),
    ] = "auto"
    auto_batch_size: Annotated[
        bool,
        Field(
            description="find the largest per_device_train_batch_size that fits; a step keeps its "
            "number of clips by gradient accumulation"
        ),
    ] = False
    balance: Annotated[
        Literal["corpus", "class", "corpus_and_class"] | None,
        Field(description="sample corpora, classes, or classes of each corpus equally often"),
    ] = None
    deterministic: Annotated[
        bool, Field(description="refuse operations of torch that are not deterministic")
    ] = False
    refit: Annotated[
        bool,
        Field(
            description="train again on training and validation clips, for the steps of the "
            "selected checkpoint; not if validation is evaluated"
        ),
    ] = False
    solver: Annotated[
        Literal["trainer", "sklearn"] | None,
        Field(description="gradient descent or scikit-learn; null: what is usual for the network"),
    ] = None
    grid: Annotated[
        dict[str, list], Field(description="values that scikit-learn tries, by parameter")
    ] = {}

    @model_validator(mode="before")
    @classmethod
    def _refuse_managed(cls, values: Any) -> Any:
        for key in values if isinstance(values, dict) else ():
            if key in MANAGED:
                raise ValueError(f"{key}: {MANAGED[key]}")
        return values

    @model_validator(mode="after")
    def _check_steps(self) -> Self:
        if self.max_steps == 0:
            raise ValueError("max_steps: expected 1 or more, or -1 for epochs, got 0")
        return self

    @model_validator(mode="after")
    def _check_grid(self) -> Self:
        for key, values in self.grid.items():
            if not values:
                raise ValueError(f"grid.{key}: expected at least one value, got none")
        return self

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of `ser_hf.training.arguments.training_arguments`, without null."""
        values = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(EmotionTrainerSettings)
        }
        values["selecting_evaluations"] = self.early_stopping.evaluations
        values["average"] = self.average.kind
        values["average_decay"] = self.average.decay
        return super().arguments | _without_null(values)


def _without_null(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
