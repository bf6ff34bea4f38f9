"""The names of the `TrainingArguments` that a recipe may set, and those that a run sets itself."""

import importlib.util
from pathlib import Path

from ..utils.files import class_fields

# Keys that the run sets itself, by what to use in their place.
_MANAGED: dict[str, str] = {
    "use the top-level key output_dir": "output_dir logging_dir",
    "use training.seeds": "seed data_seed",
    "use training.early_stopping": "load_best_model_at_end metric_for_best_model greater_is_better",
    "use training.loss.label_smoothing": "label_smoothing_factor",
    "use training.deterministic": "full_determinism",
    "use training.precision": "bf16 fp16 tf32 bf16_full_eval fp16_full_eval",
    "use --resume": "resume_from_checkpoint ignore_data_skip restore_callback_states_from_checkpoint save_only_model",
    "use a file of recipes/accelerate": "fsdp fsdp_config deepspeed accelerator_config local_rank",
    "use hub": "push_to_hub hub_model_id hub_strategy hub_private_repo hub_always_push hub_revision hub_token",
    "the run sets it; leave it out": (
        "remove_unused_columns label_names dataloader_persistent_workers average_tokens_across_devices log_level "
        "log_level_replica length_column_name prediction_loss_only include_for_metrics batch_eval_metrics "
        "eval_do_concat_batches do_train do_eval do_predict"
    ),
    "it is for language models; leave it out": (
        "parallelism_config neftune_noise_alpha use_liger_kernel liger_kernel_config optim_target_modules"
    ),
}
MANAGED = {key: reason for reason, keys in _MANAGED.items() for key in keys.split()}
_UNSUPPORTED = ("auto_find_batch_size", "dataloader_drop_last")


def argument_names() -> list[str]:
    """The keys of `TrainingArguments` that a recipe may set. Reads its source: an import takes
    seconds.
    """
    package = Path(importlib.util.find_spec("transformers").origin).parent
    fields = class_fields(package / "training_args.py")["TrainingArguments"]
    return [
        name
        for name in fields
        if name not in (*MANAGED, *_UNSUPPORTED) and not name.startswith("_")
    ]
