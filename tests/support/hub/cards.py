"""The check of README.md's front matter that the Hub makes before an upload and again at the commit."""

import re
from collections.abc import Callable
from typing import Any

from .answers import Answer, as_json, malformed
from .front_matter import front_matter
from .request import Request
from .site import Site
from .vocabulary import (
    COLOURS,
    LICENSES,
    PIPELINE_TAGS,
    RELATIONS,
    SDKS,
    SIZE_CATEGORIES,
    SUGGESTED_HARDWARE,
)

_ID = re.compile(r"(?:[\w.-]+/)?[\w.-]{1,96}", re.ASCII)
_SPECIAL_LANGUAGES = ("code", "multilingual")
Errors = list[str]


def validate_yaml(site: Site, request: Request) -> Answer:
    asked = request.json({"content": "str", "repoType": "str?"})
    if asked["repoType"] not in (None, "model", "dataset", "space"):
        raise malformed('"repoType" must be one of [model, dataset, space]')
    errors, warnings = check_card(asked["content"], asked["repoType"] or "model")
    told = {"errors": _messages(errors), "warnings": _messages(warnings)}
    return as_json({**told, "error": errors[0]}, 400) if errors else as_json(told)


def check_card(content: str, repo_type: str) -> tuple[Errors, Errors]:
    """Errors, which the Hub refuses, and warnings, as far as its documentation and its messages tell them: of a
    language's code it knows which there are, here any two or three letters will do."""
    metadata, fault = front_matter(content)
    if fault:
        return [fault], []
    if not metadata:
        return [], ["empty or missing yaml metadata in repo card"]
    errors: Errors = []
    warnings: Errors = []
    for key, check in {**_COMMON, **_OF[repo_type]}.items():
        if key in metadata:
            check(errors, key, metadata[key])
    if repo_type == "space" and "sdk" not in metadata:
        errors.append('"sdk" is required')
    tags = {"model": [metadata.get("pipeline_tag")], "dataset": metadata.get("task_categories")}.get(repo_type)
    for tag in tags if isinstance(tags, list) else []:
        if isinstance(tag, str) and tag not in PIPELINE_TAGS:
            warnings.append(f'The task "{tag}" is not in the official list: {", ".join(PIPELINE_TAGS)}')
    return errors, warnings


def _messages(texts: Errors) -> list[dict[str, str]]:
    return [{"message": text} for text in texts]


def _text(errors: Errors, name: str, value: Any) -> None:
    if not isinstance(value, str):
        errors.append(f'"{name}" must be a string')
    elif not value.strip():
        errors.append(f'"{name}" is not allowed to be empty')


def _boolean(errors: Errors, name: str, value: Any) -> None:
    if not isinstance(value, bool):
        errors.append(f'"{name}" must be a boolean')


def _object(errors: Errors, name: str, value: Any) -> None:
    if not isinstance(value, dict):
        errors.append(f'"{name}" must be of type object')


def _among(*words: str) -> Callable[[Errors, str, Any], None]:
    def check(errors: Errors, name: str, value: Any) -> None:
        if not isinstance(value, str) or value not in words:
            errors.append(f'"{name}" must be one of [{", ".join(words)}]')

    return check


def _all(check: Callable[[Errors, str, Any], None], alone: bool = True) -> Callable[[Errors, str, Any], None]:
    """A list of such values, or one `alone`."""

    def checked(errors: Errors, name: str, value: Any) -> None:
        if isinstance(value, list):
            for position, item in enumerate(value):
                check(errors, f"{name}[{position}]", item)
        elif alone:
            check(errors, name, value)
        else:
            errors.append(f'"{name}" must be an array')

    return checked


def _identifier(kind: str) -> Callable[[Errors, str, Any], None]:
    def check(errors: Errors, name: str, value: Any) -> None:
        if not isinstance(value, str):
            errors.append(f'"{name}" must be a string')
        elif not _ID.fullmatch(value) or "--" in value or ".." in value:
            errors.append(f'"{name}" with value "{value}" is not valid. Use a {kind} id from https://hf.co/{kind}s.')

    return check


def _language(errors: Errors, name: str, value: Any) -> None:
    if not isinstance(value, str):
        errors.append(f'"{name}" must be a string')
    elif value not in _SPECIAL_LANGUAGES and not re.fullmatch("[a-z]{2,3}", value):
        errors.append(
            f'"{name}" with value "{value}" is not valid. It must be an ISO 639-1, 639-2 or 639-3 code (two/three '
            'letters), or a special value like "code", "multilingual". If you want to use BCP-47 identifiers, you can '
            "specify them in language_bcp47."
        )


def _emissions(errors: Errors, name: str, value: Any) -> None:
    """Grams of CO2, alone or with what they were reckoned from."""
    grams = value.get("emissions") if isinstance(value, dict) else value
    if not _is_number(grams) or grams < 0:
        errors.append(f'"{name}" must be a number of grams or an object whose "emissions" are')
    for key in ("source", "training_type", "geographical_location", "hardware_used"):
        if isinstance(value, dict) and key in value:
            _text(errors, f"{name}.{key}", value[key])


def _short(errors: Errors, name: str, value: Any) -> None:
    _text(errors, name, value)
    if isinstance(value, str) and len(value) > 60:
        errors.append(f'"{name}" length must be less than or equal to 60 characters long')


def _emoji(errors: Errors, name: str, value: Any) -> None:
    if not isinstance(value, str) or not value or value.isascii() or len(value) > 8:
        errors.append(f'"{name}" must be an emoji')


def _version(errors: Errors, name: str, value: Any) -> None:
    if isinstance(value, bool) or not re.fullmatch(r"\d+(\.\d+)*", str(value)):
        errors.append(f'"{name}" must be a version')


def _configs(errors: Errors, name: str, value: Any) -> None:
    """The configurations of a dataset: which files are which split."""
    if not isinstance(value, list):
        errors.append(f'"{name}" must be an array')
        return
    for position, item in enumerate(value):
        where = f"{name}[{position}]"
        if not isinstance(item, dict):
            errors.append(f'"{where}" must be of type object')
            continue
        _required(errors, where, item, "config_name")
        files = item.get("data_files")
        for number, one in enumerate(files if isinstance(files, list) else []):
            if isinstance(one, dict):
                _required(errors, f"{where}.data_files[{number}]", one, "split")
                _all(_text)(errors, f"{where}.data_files[{number}].path", one.get("path"))


def _model_index(errors: Errors, name: str, value: Any) -> None:
    """Results of evaluation, each of a task, a data set and metrics."""
    if not isinstance(value, list):
        errors.append(f'"{name}" must be an array')
        return
    for position, model in enumerate(value):
        where = f"{name}[{position}]"
        if not isinstance(model, dict) or not isinstance(model.get("results"), list):
            errors.append(f'"{where}.results" is required')
            continue
        _required(errors, where, model, "name")
        for number, result in enumerate(model["results"]):
            _result(errors, f"{where}.results[{number}]", result)


def _result(errors: Errors, where: str, result: Any) -> None:
    if not isinstance(result, dict):
        errors.append(f'"{where}" must be of type object')
        return
    _required(errors, f"{where}.task", result.get("task"), "type")
    _required(errors, f"{where}.dataset", result.get("dataset"), "name", "type")
    if isinstance(dataset := result.get("dataset"), dict) and isinstance(dataset.get("type"), str):
        _identifier("dataset")(errors, f"{where}.dataset.type", dataset["type"])
    metrics = result.get("metrics")
    if not isinstance(metrics, list) or not metrics:
        errors.append(f'"{where}.metrics" must be an array of at least one metric')
        return
    for number, metric in enumerate(metrics):
        _required(errors, f"{where}.metrics[{number}]", metric, "type")
        if isinstance(metric, dict) and metric.get("value") is None:
            errors.append(f'"{where}.metrics[{number}].value" is required')
    if isinstance(source := result.get("source"), dict) and "name" in source and "url" not in source:
        errors.append(f'"{where}.source.url" is required')


def _required(errors: Errors, where: str, value: Any, *keys: str) -> None:
    """Texts that an object must have."""
    if not isinstance(value, dict):
        errors.append(f'"{where}" is required')
        return
    for key in keys:
        if value.get(key) is None:
            errors.append(f'"{where}.{key}" is required')
        else:
            _text(errors, f"{where}.{key}", value[key])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_COMMON = {
    "license": _all(_among(*LICENSES)),
    "license_name": _text,
    "license_link": _text,
    "tags": _all(_text, alone=False),
    "thumbnail": _text,
    "datasets": _all(_identifier("dataset")),
    "extra_gated_prompt": _text,
    "extra_gated_fields": _object,
}
_OF: dict[str, dict[str, Callable[[Errors, str, Any], None]]] = {
    "model": {
        "language": _all(_language),
        "library_name": _text,
        "pipeline_tag": _text,
        "metrics": _all(_text),
        "base_model": _all(_identifier("model")),
        "base_model_relation": _among(*RELATIONS),
        "model-index": _model_index,
        "co2_eq_emissions": _emissions,
        "widget": _all(_object, alone=False),
    },
    "dataset": {
        "language": _all(_language),
        "pretty_name": _text,
        "task_categories": _all(_text, alone=False),
        "task_ids": _all(_text, alone=False),
        "size_categories": _all(_among(*SIZE_CATEGORIES)),
        "source_datasets": _all(_text),
        "annotations_creators": _all(_text),
        "configs": _configs,
        "viewer": _boolean,
    },
    "space": {
        "title": _text,
        "emoji": _emoji,
        "colorFrom": _among(*COLOURS),
        "colorTo": _among(*COLOURS),
        "sdk": _among(*SDKS),
        "sdk_version": _version,
        "python_version": _version,
        "app_file": _text,
        "short_description": _short,
        "pinned": _boolean,
        "models": _all(_identifier("model"), alone=False),
        "suggested_hardware": _among(*SUGGESTED_HARDWARE),
        "hf_oauth": _boolean,
    },
}
