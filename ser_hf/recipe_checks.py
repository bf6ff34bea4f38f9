"""What types cannot say of a recipe: ranges, keys that contradict each other, and keys that would be ignored."""

import dataclasses
import math
import re

from .errors import UserError
from .sections import (
    AudioSection,
    AverageSection,
    FreezeSection,
    GradualSection,
    LoraSection,
    LossSection,
    Recipe,
    TrainingSection,
)

# Seconds of which an emotion might be told at all.
SHORTEST = 0.1
# What makes a vector of a clip without having learnt to.
FIXED_POOLINGS = ("mean", "max", "mean_std")


def check(recipe: Recipe) -> None:
    """What types cannot say. Raises a `UserError` naming the key."""
    audio, training, loss = recipe.audio, recipe.training, recipe.training.loss
    positive = {
        "audio.sampling_rate": audio.sampling_rate,
        "audio.max_duration": audio.max_duration,
        "evaluation.window": recipe.evaluation.window,
        "evaluation.bootstrap": recipe.evaluation.bootstrap,
        "training.head_learning_rate": training.head_learning_rate,
        "training.layer_decay": training.layer_decay,
        "training.early_stopping.patience": training.early_stopping.patience,
        "training.average.decay": training.average.decay,
        "training.loss.effective_number_beta": loss.effective_number_beta,
        "training.loss.contrastive_temperature": loss.contrastive_temperature,
    }
    counted = ("learning_rate", "num_train_epochs", "per_device_train_batch_size", "per_device_eval_batch_size")
    for key in (*counted, "gradient_accumulation_steps", "save_total_limit"):
        positive[f"training.{key}"] = training.arguments.get(key)
    if max(training.seeds, default=0) >= 2**32:
        raise UserError(f"training.seeds: expected numbers below 2**32, got {max(training.seeds)}")
    for key, value in positive.items():
        if value is not None and not 0 < value < math.inf:
            raise UserError(f"{key}: expected more than zero, got {value}")
    for key in ("audio.max_duration", "evaluation.window"):
        if positive[key] is not None and positive[key] < SHORTEST:
            raise UserError(f"{key}: expected seconds, {SHORTEST} or more, got {positive[key]}")
    not_negative = {
        "training.seeds": min(training.seeds, default=0),
        "protocol.seed": recipe.protocol.options.get("seed", 0),
        "training.loss.focal_gamma": loss.focal_gamma,
        "training.loss.logit_adjustment": loss.logit_adjustment,
        "training.loss.contrastive_weight": loss.contrastive_weight,
        "training.max_grad_norm": training.arguments.get("max_grad_norm", 0),
        "training.weight_decay": training.arguments.get("weight_decay", 0),
        "training.dataloader_num_workers": training.arguments.get("dataloader_num_workers") or 0,
    }
    for key, value in not_negative.items():
        if not 0 <= value < math.inf:
            raise UserError(f"{key}: expected zero or more, got {value}")
    shares = {
        "evaluation.confidence": (recipe.evaluation.confidence, 0 < recipe.evaluation.confidence < 1),
        "training.loss.label_smoothing": (loss.label_smoothing, 0 <= loss.label_smoothing < 1),
        "training.loss.effective_number_beta": (loss.effective_number_beta, loss.effective_number_beta < 1),
        "training.average.decay": (training.average.decay, training.average.decay < 1),
        "training.average.start": (training.average.start, 0 <= training.average.start < 1),
        "model.head_dropout": (recipe.model.head_dropout, 0 <= recipe.model.head_dropout < 1),
        "training.layer_decay": (training.layer_decay, training.layer_decay is None or training.layer_decay <= 1),
    }
    for key, (value, possible) in shares.items():
        if not possible:
            raise UserError(f"{key}: expected between 0 and 1, got {value}")
    folds = recipe.protocol.folds
    if folds is not None and (not folds or len(set(folds)) != len(folds)):
        raise UserError(f"protocol.folds: expected numbers of folds, each once, got {folds}")
    if recipe.protocol.foil == recipe.protocol.name:
        raise UserError(f"protocol.foil: {recipe.protocol.foil} is the protocol itself; name it under one of the two")
    if not training.seeds:
        raise UserError("training.seeds: expected at least one seed, got an empty list")
    if len(set(training.seeds)) != len(training.seeds):
        raise UserError(f"training.seeds: each seed once, got {training.seeds}")
    _check_audio(audio)
    _check_augmentation(recipe)
    _check_balance(recipe)
    _check_model(recipe)
    _check_hub(recipe)
    if training.solver == "sklearn":
        _check_unused_by_sklearn(recipe)
    else:
        _check_training(training)


def _check_hub(recipe: Recipe) -> None:
    """Names that the Hub cannot have would be noticed after hours of training."""
    hub = recipe.hub
    for key in ("report_repo", "space", "benchmark"):
        if getattr(hub, key) and hub.repo is None:
            raise UserError(f"hub.{key}: nothing is published while hub.repo is null; name a repository there")
    for key in ("repo", "report_repo", "benchmark"):
        name = getattr(hub, key)
        if name is not None and not re.fullmatch(r"([A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]{0,95}", name):
            raise UserError(f"hub.{key}: expected USER/NAME, of letters, digits, -, _ and ., got {name}")


def _check_audio(audio: AudioSection) -> None:
    from .models.preparation import Preparation

    try:
        Preparation(**audio.preparation)
    except ValueError as error:
        raise UserError(f"audio.{error}") from None
    if audio.fixed_duration and audio.max_duration and audio.max_duration > audio.fixed_duration:
        raise UserError(
            f"audio.max_duration: audio.fixed_duration makes every clip {audio.fixed_duration:g} s; leave it out"
        )


def _check_augmentation(recipe: Recipe) -> None:
    """Mixup needs a second clip, and two corrections of one imbalance would overshoot it."""
    loss = recipe.training.loss
    if recipe.augment.mixup.probability and recipe.training.arguments.get("per_device_train_batch_size") == 1:
        raise UserError(
            "augment.mixup: mixes clips of a batch, and training.per_device_train_batch_size is 1; make it larger"
        )
    if recipe.augment.mixup.probability and recipe.training.arguments.get("auto_find_batch_size"):
        raise UserError(
            "training.auto_find_batch_size: augment.mixup mixes clips of a batch, and its size must stay what it is; "
            "leave out one of the two"
        )
    for key, asked in (("class_weights", loss.class_weights), ("logit_adjustment", loss.logit_adjustment)):
        if recipe.augment.oversample and asked:
            raise UserError(
                f"training.loss.{key}: augment.oversample makes classes equally frequent already, and both together "
                "correct twice; leave out one of the two"
            )


def _check_balance(recipe: Recipe) -> None:
    """Two rules about how often an epoch meets a clip would undo each other."""
    balance, loss, augment = recipe.training.balance, recipe.training.loss, recipe.augment
    weighted = _weighted(recipe)
    if balance in ("corpus", "corpus_and_class"):
        if recipe.corpus.name != "mixture":
            raise UserError(f"training.balance: {balance} needs several corpora (corpus.name: mixture)")
        for key in weighted:
            raise UserError(f"{key}: training.balance makes corpora equally frequent; leave out one of the two")
    if augment.oversample:
        for key in ["training.balance"] * bool(balance) + weighted:
            raise UserError(f"augment.oversample: {key} says how often clips are met; leave out one of the two")
    for key, asked in (("class_weights", loss.class_weights), ("logit_adjustment", loss.logit_adjustment)):
        if balance in ("class", "corpus_and_class") and asked:
            raise UserError(
                f"training.loss.{key}: training.balance: {balance} corrects how frequent classes are already, and "
                "both together correct twice; leave out one of the two"
            )


def _weighted(recipe: Recipe) -> list[str]:
    """The keys of a mixture's weights that are not 1."""
    items = recipe.corpus.options.get("corpora") if recipe.corpus.name == "mixture" else None
    return [f"corpus.corpora[{i}].weight" for i, item in enumerate(items or ()) if item["weight"] != 1]


def _check_model(recipe: Recipe) -> None:
    """What the three kinds of network take: from scratch, transferred from another task, or a speech encoder."""
    from .models import TRANSFERRED

    model, training = recipe.model, recipe.training
    encoder, transferred = model.architecture == "encoder", model.architecture in TRANSFERRED
    if not model.checkpoint and encoder:
        raise UserError("model.checkpoint: missing; architecture encoder needs a Hub id or a folder")
    if not model.checkpoint and transferred and not model.random_init:
        raise UserError(
            f"model.checkpoint: missing; {model.architecture} needs the file of its published weights, or "
            "random_init: true to start from random numbers"
        )
    for field in dataclasses.fields(model):
        known = encoder or field.name in ("architecture", "options")
        if not (known or (transferred and field.name in ("checkpoint", "random_init"))):
            default = [] if field.default is dataclasses.MISSING else field.default
            if getattr(model, field.name) != default:
                raise UserError(f"model.{field.name}: belongs to architecture encoder, not to {model.architecture}")
    for key in ("gradient_checkpointing", "activation_checkpointing"):
        if not encoder and training.arguments.get(key):
            raise UserError(f"training.{key}: for encoders; networks of ours are small enough without")
    if not (encoder or transferred):
        for key in ("head_learning_rate", "layer_decay"):
            if getattr(training, key):
                raise UserError(
                    f"training.{key}: {model.architecture} has no encoder to tell its head from; use "
                    "training.learning_rate"
                )
        if dataclasses.replace(recipe.freeze, cache=False) != FreezeSection():
            raise UserError(
                f"freeze: {model.architecture} starts from random numbers, which have to learn; leave it out"
            )
    if model.options.get("head") == "svm" and training.solver != "sklearn":
        raise UserError("model.head: support vector machines do not learn by gradient; set training.solver: sklearn")
    if encoder and training.solver == "sklearn" and (model.pooling not in FIXED_POOLINGS or model.head_layers):
        raise UserError(
            "training.solver: scikit-learn fits the classifier alone, so that nothing before it may have to learn: "
            f"set model.pooling to {', '.join(FIXED_POOLINGS[:-1])} or {FIXED_POOLINGS[-1]}, and leave out "
            "model.head_layers"
        )
    if recipe.evaluation.temperature == "store" and _fitted_head(recipe):
        raise UserError(
            "evaluation.temperature: no linear layer makes the logits of support vector machines and trees, which a "
            "temperature could be stored in; leave it at report"
        )
    _check_depth(recipe)
    if recipe.freeze.cache and training.solver != "sklearn":  # which computes embeddings once anyway
        _check_cache(recipe)
    _check_lora(recipe)


def _fitted_head(recipe: Recipe) -> bool:
    """Whether the classifier is of a kind that scikit-learn alone can fit."""
    from .training.arguments import solvers_for

    return solvers_for(recipe.model.architecture) == ("sklearn",) or recipe.model.options.get("head") == "svm"


def _check_depth(recipe: Recipe) -> None:
    """Keys about what learns that contradict each other."""
    from .training.layers import Freezing

    freeze, training = recipe.freeze, recipe.training
    Freezing(**freeze.freezing)  # complains of its own
    if freeze.gradual.every is None and freeze.gradual != GradualSection():
        raise UserError("freeze.gradual.every: missing; after how many epochs the next layers are to learn")
    if freeze.encoder and training.layer_decay:
        raise UserError("training.layer_decay: freeze.encoder freezes all layers; leave out one of the two")
    settings = [training.arguments.get(f"{word}_checkpointing_kwargs") or {} for word in ("gradient", "activation")]
    partly = dataclasses.replace(freeze, cache=False) != FreezeSection() or recipe.lora.rank is not None
    if partly and any(kwargs.get("use_reentrant") for kwargs in settings):
        raise UserError(
            "training.gradient_checkpointing_kwargs.use_reentrant: layers above frozen ones would get no gradient; "
            "leave it out"
        )


def _check_cache(recipe: Recipe) -> None:
    """What would change what is computed once. Whether anything can be cached depends on the network."""
    freeze, augment, arguments = recipe.freeze, recipe.augment, recipe.training.arguments
    changing = {f"augment.{name}": "changes waveforms anew in every epoch" for name in augment.steps}
    if augment.mixup.probability:
        changing["augment.mixup"] = "mixes waveforms anew in every epoch"
    if recipe.lora.rank is not None:
        changing["lora"] = "adapts the layers that would be cached"
    if freeze.gradual.every is not None:
        changing["freeze.gradual"] = "thaws what would be cached"
    for key, does in changing.items():
        raise UserError(f"freeze.cache: {key} {does}, and what is cached is computed once; leave out one of the two")
    asked = freeze.encoder or freeze.feature_encoder or freeze.layers or freeze.top_layers is not None
    if recipe.model.architecture == "encoder" and not asked:
        raise UserError(
            "freeze.cache: nothing of the encoder is frozen, so that there is nothing to cache; set freeze.encoder, "
            "freeze.layers, freeze.top_layers or freeze.feature_encoder, or leave it out"
        )
    for key in ("gradient_checkpointing", "activation_checkpointing"):
        if freeze.encoder and arguments.get(key):
            raise UserError(f"training.{key}: with freeze.cache no layer of the encoder is run; leave it out")


def _check_lora(recipe: Recipe) -> None:
    from .training.lora import Lora

    lora, freeze = recipe.lora, recipe.freeze
    if lora.rank is None:
        if lora != LoraSection():
            raise UserError("lora.rank: missing; the other keys of lora are of no use without it (8 is usual)")
        return
    Lora(**dataclasses.asdict(lora))  # complains of its own
    if lora.targets == []:
        raise UserError("lora.targets: expected names of linear layers, or null for the usual ones, got none")
    if recipe.model.architecture != "encoder":
        raise UserError(
            f"lora: adapts the attention of speech encoders, which {recipe.model.architecture} does not have"
        )
    if recipe.model.random_init:
        raise UserError("lora: adapts pretrained weights, and model.random_init has none; leave out one of the two")
    if freeze != dataclasses.replace(FreezeSection(), feature_encoder=freeze.feature_encoder):
        raise UserError("freeze: lora freezes the whole encoder; leave out all keys but feature_encoder")


def _check_training(training: TrainingSection) -> None:
    """Keys that ask for nothing, the schedule's words and the trackers, before any audio is touched."""
    from .training.schedules import check_schedule
    from .training.tracking import check_report_to

    loss, average = training.loss, training.average
    belongs = {
        "loss.effective_number_beta": (
            loss,
            loss.class_weights == "effective_number",
            "class_weights effective_number",
        ),
        "loss.contrastive_temperature": (loss, loss.contrastive_weight, "a contrastive_weight"),
        "average.decay": (average, average.kind == "ema", "average.kind ema"),
        "average.start": (average, average.kind == "swa", "average.kind swa"),
    }
    for key, (section, asked, whose) in belongs.items():
        name = key.partition(".")[2]
        if not asked and getattr(section, name) != getattr(type(section)(), name):
            raise UserError(f"training.{key}: belongs to {whose}; leave it out")
    if loss.class_weights == {}:
        raise UserError("training.loss.class_weights: no weights at all; leave it out, or give one for each label")
    if average.kind == "swa" and training.early_stopping.patience:
        raise UserError(
            "training.early_stopping.patience: swa averages the end of a training, which has to come; leave it out"
        )
    arguments = training.arguments
    warmup, schedule = arguments["warmup_steps"], arguments["lr_scheduler_type"]
    check_schedule(schedule, arguments["lr_scheduler_kwargs"] or {}, warmup)
    check_report_to(arguments["report_to"])


# What predicting takes, and what the machine decides.
USED_BY_SKLEARN = {
    *("per_device_eval_batch_size", "use_cpu", "dataloader_num_workers", "dataloader_pin_memory", "disable_tqdm"),
    *("dataloader_prefetch_factor", "ddp_find_unused_parameters", "ddp_backend", "ddp_timeout"),
}


def _check_unused_by_sklearn(recipe: Recipe) -> None:
    """What would be ignored without a word. Raises a `UserError` naming the key."""
    from .training.arguments import argument_options

    training, defaults = recipe.training, argument_options()
    asked = {
        "audio.max_duration": recipe.audio.max_duration,
        # The encoder is frozen anyway, which a recipe may say.
        "lora": recipe.lora != LoraSection(),
        "freeze.cache": recipe.freeze.cache,
        "freeze": recipe.freeze != dataclasses.replace(FreezeSection(), encoder=recipe.freeze.encoder),
        "training.early_stopping.patience": training.early_stopping.patience,
    }
    for field in dataclasses.fields(LossSection):
        if field.name not in ("class_weights", "effective_number_beta"):
            asked[f"training.loss.{field.name}"] = getattr(training.loss, field.name) != field.default
    for field in dataclasses.fields(AverageSection):
        asked[f"training.average.{field.name}"] = getattr(training.average, field.name) != field.default
    for key in ("head_learning_rate", "layer_decay", "precision", "balance", "deterministic", "sync_batch_norm"):
        asked[f"training.{key}"] = getattr(training, key) != getattr(TrainingSection(), key)
    augment = recipe.augment
    asked |= {f"augment.{name}": True for name in augment.steps}
    asked |= dict.fromkeys(_weighted(recipe), True)
    asked |= {"augment.mixup": augment.mixup.probability, "augment.oversample": augment.oversample}
    for key, value in training.arguments.items():
        if key not in USED_BY_SKLEARN:
            asked[f"training.{key}"] = value != defaults[key][1]
    for key in ("band_warp", "time_stretch", "mix_style"):
        asked[f"model.{key}"] = recipe.model.options.get(key)
    for key, value in asked.items():
        if value:
            raise UserError(f"{key}: of no use to scikit-learn, which fits whole clips as they are; leave it out")
