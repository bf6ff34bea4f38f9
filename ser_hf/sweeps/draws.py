"""A space in Optuna's terms: what its parameters, its search and its pruning are called there."""

from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from .parameters import Bundles, Choice, Range
from .space import Pruning


def sampler(search: str, seed: int, draw: int) -> optuna.samplers.BaseSampler:
    """Every draw has a generator of its own: a sweep that was interrupted, or shared by processes, draws at random
    what it would have drawn in one go."""
    own = int(np.random.SeedSequence([seed, draw]).generate_state(1)[0])
    if search == "tpe":
        return optuna.samplers.TPESampler(seed=own)
    return optuna.samplers.RandomSampler(seed=own)


def ask(trial: optuna.Trial, name: str, parameter: Range | Choice | Bundles) -> Any:
    asked = distribution(parameter)
    if isinstance(asked, CategoricalDistribution):
        return trial.suggest_categorical(name, asked.choices)
    if isinstance(asked, IntDistribution):
        return trial.suggest_int(name, asked.low, asked.high, step=asked.step, log=asked.log)
    # 3 * 0.1 as people write it.
    return float(f"{trial.suggest_float(name, asked.low, asked.high, step=asked.step, log=asked.log):.12g}")


def distribution(parameter: Range | Choice | Bundles) -> BaseDistribution:
    """What Optuna calls a parameter. Choices go by how they are written: it stores no lists, and holds 1 for true.
    Bundles are sorted, as it wants the same order always, and a file's keys have none."""
    if isinstance(parameter, Choice):
        return CategoricalDistribution(list(parameter.labelled()))
    if isinstance(parameter, Bundles):
        return CategoricalDistribution(sorted(parameter.options))
    listed = parameter.values()
    high = parameter.high if listed is None else listed[-1]
    if parameter.whole:
        return IntDistribution(parameter.low, high, parameter.log, parameter.step or 1)
    return FloatDistribution(parameter.low, high, parameter.log, parameter.step)


def pruner(pruning: Pruning | None, epochs: int) -> optuna.pruners.BasePruner:
    if pruning is None:
        return optuna.pruners.NopPruner()
    if pruning.kind == "median":
        startup = 5 if pruning.startup_trials is None else pruning.startup_trials
        # Optuna counts steps from 0, we epochs from 1: the first so many are safe.
        return optuna.pruners.MedianPruner(startup, n_warmup_steps=pruning.warmup_epochs + 1)
    factor = pruning.reduction_factor or 3
    if pruning.kind == "successive_halving":
        return optuna.pruners.SuccessiveHalvingPruner(pruning.warmup_epochs, factor)
    return optuna.pruners.HyperbandPruner(pruning.warmup_epochs, max(epochs, pruning.warmup_epochs), factor)
