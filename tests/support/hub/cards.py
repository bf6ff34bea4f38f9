"""The checks of the Hub on the metadata of a README.md, after huggingface.co/docs/hub."""

import json
import re
from typing import Any

import jsonschema
import yaml

LICENSES = """
    apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m
    bigscience-bloom-rail-1.0 bigcode-openrail-m afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause
    bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0
    cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0
    cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0
    cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0
    etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc
    h-research intel-research lppl-1.3c ms-pl apple-ascl apple-amlr mpl-2.0 odc-by odbl
    openmdw-1.0 openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr
    deepfloyd-if-license fair-noncommercial-research-license llama2 llama3 llama3.1 llama3.2
    llama3.3 llama4 grok2-community gemma unknown other
"""
SIZES = (
    "n<1K 1K<n<10K 10K<n<100K 100K<n<1M 1M<n<10M 10M<n<100M 100M<n<1B 1B<n<10B 10B<n<100B "
    "100B<n<1T n>1T"
)
COLORS = ["red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"]
TASK = "audio-classification"  # the one task of the cards here

TEXT = {"type": "string", "minLength": 1}
TEXTS = {"type": "array", "items": TEXT}
IDS = {
    "type": "array",
    "items": {"type": "string", "pattern": r"^([\w.-]+/)?(?!.*(--|\.\.))[\w.-]{1,96}$"},
}


def _object(required: str = "", **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required.split(), "properties": properties}


RESULT = _object(
    "task dataset metrics",
    task=_object("type", type=TEXT),
    dataset=_object("name type", name=TEXT, type=IDS["items"]),
    metrics={
        "type": "array",
        "minItems": 1,
        "items": _object("type value", type=TEXT, value={"type": "number"}),
    },
    source=_object("name url"),
)
DATA_FILES = {"type": "array", "items": _object("split path", split=TEXT)}
COMMON = {
    "license": {"type": "array", "items": {"enum": LICENSES.split()}},
    "license_name": TEXT,
    "license_link": TEXT,
    "language": {
        "type": "array",
        "items": {"type": "string", "pattern": "^([a-z]{2,3}|code|multilingual)$"},
    },
    "tags": TEXTS,
    "datasets": IDS,
}
SCHEMAS = {
    "model": _object(
        **COMMON | {"library_name": TEXT, "metrics": TEXTS, "base_model": IDS},
        pipeline_tag={"enum": [TASK]},
        base_model_relation={"enum": ["adapter", "merge", "quantized", "finetune"]},
        **{
            "model-index": {
                "type": "array",
                "items": _object("name results", results={"items": RESULT}),
            }
        },
    ),
    "dataset": _object(
        **COMMON | {"pretty_name": TEXT, "source_datasets": TEXTS},
        task_categories={"type": "array", "items": {"enum": [TASK]}},
        size_categories={"type": "array", "items": {"enum": SIZES.split()}},
        configs={"type": "array", "items": _object("config_name", data_files=DATA_FILES)},
    ),
    "space": _object(
        "sdk",
        **COMMON | {"title": TEXT, "app_file": TEXT, "models": IDS},
        **dict.fromkeys(("colorFrom", "colorTo"), {"enum": COLORS}),
        emoji={"type": "string", "pattern": r"^[^\x00-\x7f]{1,8}$"},
        sdk={"enum": ["gradio", "streamlit", "docker", "static"]},
        sdk_version={"type": "string", "pattern": r"^\d+(\.\d+)*$"},
        short_description={"type": "string", "maxLength": 60},
        pinned={"type": "boolean"},
    ),
}
ONE_OR_MORE = (
    "license",
    "language",
    "datasets",
    "metrics",
    "base_model",
    "size_categories",
    "source_datasets",
)


def validate_yaml(store: Any, request: Any) -> Any:
    content = request.json()
    errors = check_card(content["content"], content.get("repoType") or "model")
    body = {"errors": [{"message": text} for text in errors], "warnings": []}
    return (
        (400 if errors else 200),
        {},
        json.dumps(body | ({"error": errors[0]} if errors else {})).encode(),
    )


def check_card(content: str, repo_type: str) -> list[str]:
    """Errors of the Hub about a card, including an unknown task; empty if there are none."""
    metadata, error = front_matter(content)
    if error:
        return [error]
    wrapped = {
        key: [value] if key in ONE_OR_MORE and not isinstance(value, list) else value
        for key, value in (metadata or {}).items()
    }
    errors = jsonschema.Draft202012Validator(SCHEMAS[repo_type]).iter_errors(wrapped)
    return [_message(error) for error in sorted(errors, key=lambda error: error.json_path)]


def _message(error: jsonschema.ValidationError) -> str:
    where = error.json_path.removeprefix("$.").removesuffix("[0]")
    if error.validator == "enum":
        return f'"{where}" must be one of [{", ".join(error.validator_value)}]'
    return f'"{where}" is not valid: {error.message}'


class _Loader(yaml.SafeLoader):
    """YAML 1.2, as the Hub reads it: only true and false are booleans, a date is text."""


_Loader.yaml_implicit_resolvers = {
    letter: [
        (tag, pattern) for tag, pattern in resolvers if (tag[-4:] != "bool" or letter in "tTfF")
    ]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_constructor("tag:yaml.org,2002:timestamp", yaml.SafeLoader.construct_yaml_str)


def front_matter(content: str) -> tuple[dict[str, Any] | None, str | None]:
    """The metadata, None if a README.md has none; or what is wrong with the YAML."""
    fenced = re.match(r"\s*---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(\r?\n|\Z)", content, re.DOTALL)
    if not fenced:
        return None, None
    try:
        metadata = yaml.load(fenced[1], _Loader)
    except yaml.YAMLError as error:
        return None, f"Invalid YAML: {error}"
    return (
        (metadata, None) if isinstance(metadata, dict) else (None, '"YAML" must be of type object')
    )
