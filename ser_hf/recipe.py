"""A recipe: one YAML file is one experiment, read into the dataclasses of `ser_hf.sections`.

Four sections take keys that other packages define, checked by name and type all the same: `corpus` those of the
corpus's parser, `protocol` those of the split rule, `model` those of the network's configuration, `training` those of
`transformers.TrainingArguments`.
They stand beside the section's own keys in the YAML and in the dataclass's last field. Only an `encoder`'s keys are
known first when its checkpoint's configuration is at hand, and are checked there (`ser_hf.training.build`).

    recipe = read_recipe("recipes/quickstart.yaml", ["training.seeds=[1, 2]"])
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .corpora import CORPORA, complete_options, corpus_options
from .errors import UserError
from .protocols import PROTOCOLS, protocol_options
from .recipe_checks import check
from .sections import CorpusSection, ModelSection, ProtocolSection, Recipe, TrainingSection
from .strict import coerce, from_mapping, parse_yaml, read_yaml, unknown_key


def read_recipe(source: str | Path | Mapping[str, Any], overrides: Iterable[str] = ()) -> Recipe:
    """Reads and checks a recipe from a YAML file or a mapping, then applies overrides such as ``corpus.root=data``.

    Raises:
        UserError: naming the key (full path) or file, before any audio is touched.
    """
    if isinstance(source, Mapping):
        values = _copy(source)
        name = values.setdefault("name", "run")
    else:
        values = read_yaml(source)
        name = values.setdefault("name", Path(source).stem)
    for override in overrides:
        _apply(values, override)
    values.setdefault("output_dir", f"runs/{values.get('name', name)}")
    values.setdefault("protocol", {})
    # A section that is no mapping is left for `from_mapping` to complain of.
    sections = {
        name: dict(values.get(name, {}))
        for name in ("corpus", "protocol", "model", "training")
        if _holds_keys(values, name)
    }
    if "corpus" in sections:
        values["corpus"] = _corpus(sections["corpus"])
    if "protocol" in sections:
        values["protocol"] = _protocol(sections["protocol"])
    if "model" in sections:
        values["model"] = _model(sections["model"])
    if "training" in sections:
        freeze = values.get("freeze")
        gradual = isinstance(freeze, Mapping) and bool(freeze.get("gradual"))
        values["training"] = _training(sections["training"], sections.get("model", {}).get("architecture"), gradual)
    recipe = from_mapping(Recipe, values)
    check(recipe)
    return recipe


def _holds_keys(values: Mapping[str, Any], section: str) -> bool:
    return isinstance(values.get(section, {}), Mapping)


def _apply(values: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise UserError(f"{override}: an override reads section.key=value")
    *sections, key = path.split(".")
    target = values
    for section in sections:
        if target.get(section) is None:
            target[section] = {}
        target = target[section]
        if not isinstance(target, dict):
            raise UserError(f"{path}: {section} holds a value, not keys")
    target[key] = parse_yaml(text, f"the override {override}")


def _corpus(values: dict[str, Any]) -> dict[str, Any]:
    name = values.get("name")
    if not isinstance(name, str) or name not in CORPORA:
        raise UserError(f"corpus.name: {name!r} is none of {', '.join(CORPORA)}")
    section = _split_off(values, CorpusSection, corpus_options(name), "corpus", "options")
    # The corpora of a mixture have options of their own.
    return section | {"options": complete_options(name, section["options"])}


def _protocol(values: dict[str, Any]) -> dict[str, Any]:
    name = values.get("name", "speaker_independent")
    if not isinstance(name, str) or name not in PROTOCOLS:
        raise UserError(f"protocol.name: {name!r} is none of {', '.join(PROTOCOLS)}")
    return _split_off(values, ProtocolSection, protocol_options(name), "protocol", "options")


def _model(values: dict[str, Any]) -> dict[str, Any]:
    architecture = values.get("architecture")
    if architecture == "encoder":
        # A checkpoint's own configuration knows these; the model's construction checks them against it.
        own = {field.name for field in dataclasses.fields(ModelSection)} - {"options"}
        options = {key: values.pop(key) for key in list(values) if key not in own}
        return values | {"options": options}
    from .models import ARCHITECTURES

    if not isinstance(architecture, str) or architecture not in ARCHITECTURES:
        raise UserError(f"model.architecture: {architecture!r} is none of {', '.join([*ARCHITECTURES, 'encoder'])}")
    return _split_off(values, ModelSection, config_options(ARCHITECTURES[architecture]), "model", "options")


def config_options(model_class: type) -> dict[str, tuple[Any, Any]]:
    """Name -> (annotation, default) of what a network's configuration takes, beyond what every configuration does."""
    from transformers import PreTrainedConfig

    common = {field.name for field in dataclasses.fields(PreTrainedConfig)} | {"sampling_rate"}
    return {
        field.name: (field.type, field.default)
        for field in dataclasses.fields(model_class.config_class)
        if field.name not in common
    }


def _training(values: dict[str, Any], architecture: str, gradual: bool) -> dict[str, Any]:
    from .training.arguments import MANAGED, argument_options, sampling_for, solvers_for
    from .training.schedules import ignores_warmup

    for key in values:
        if key in MANAGED:
            raise UserError(f"training.{key}: {MANAGED[key]}")
    if architecture != "encoder" and not gradual:
        # Encoders drop whole layers; in our networks every parameter has a gradient in every step.
        values.setdefault("ddp_find_unused_parameters", False)
    if isinstance(schedule := values.get("lr_scheduler_type"), str) and ignores_warmup(schedule):
        values.setdefault("warmup_steps", 0)
    if values.get("solver") is None:
        values["solver"] = solvers_for(architecture)[0]
    if values["solver"] == "trainer":
        values.setdefault("train_sampling_strategy", sampling_for(architecture))
    values["grid"] = _grid(values.get("grid", {}), values["solver"], architecture)
    return _split_off(values, TrainingSection, argument_options(), "training", "arguments")


def _grid(given: Any, solver: Any, architecture: str) -> Any:
    """What scikit-learn is to try: the network's own grid, the recipe's values in place of its."""
    from .training.arguments import GRIDS, solvers_for

    solvers = {"trainer": "trained by gradient", "sklearn": "fitted by scikit-learn"}
    possible = solvers_for(architecture)
    if not isinstance(solver, str) or solver not in solvers or not isinstance(given, Mapping):
        return given  # left for `from_mapping` to complain of
    if solver not in possible:
        raise UserError(f"training.solver: {architecture} can only be {solvers[possible[0]]}")
    if solver == "trainer":
        if given:
            raise UserError("training.grid: belongs to solver sklearn; the Trainer has no grid")
        return given
    grid = dict(GRIDS[architecture])
    for key, values in given.items():
        if key not in grid:
            raise unknown_key(f"training.grid.{key}", grid)
        grid[key] = coerce(values, list[type(grid[key][0])], f"training.grid.{key}")
        if not grid[key] or not all(0 < value < math.inf for value in grid[key]):
            raise UserError(f"training.grid.{key}: expected values above zero, got {grid[key]}")
    return grid


def _split_off(
    values: dict[str, Any], kind: type, options: dict[str, tuple[Any, Any]], section: str, extra: str
) -> dict[str, Any]:
    """Moves the keys that another package defines (name -> (annotation, default)) into the section's `extra` field.

    A key that both define, as `pooling` of some networks, is the other package's.
    """
    own = [field.name for field in dataclasses.fields(kind) if field.name not in (extra, *options)]
    # Defaults are coerced like values, so that a resolved recipe reads back equal (a tuple is a list, 500 is 500.0).
    resolved = {name: coerce(default, hint, f"{section}.{name}") for name, (hint, default) in options.items()}
    for key in [key for key in values if key not in own]:
        if key not in options:
            raise unknown_key(f"{section}.{key}", [*own, *options])
        resolved[key] = coerce(values.pop(key), options[key][0], f"{section}.{key}")
    return values | {extra: resolved}


def _copy(values: Any) -> Any:
    return {key: _copy(value) for key, value in values.items()} if isinstance(values, Mapping) else values
