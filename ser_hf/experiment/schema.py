"""The JSON schema of recipes, with which editors complete and check a recipe file."""

from collections.abc import Collection, Iterator
from typing import Any

from .model_settings import EncoderSettings
from .recipe import Recipe


def recipe_schema() -> dict[str, Any]:
    """The JSON schema of a recipe file.

    The schema has the keys, types, ranges, defaults and descriptions from the classes of the
    sections. The name and the folder of a run are optional, because `read_recipe` adds them.
    """
    schema = Recipe.model_json_schema()
    schema["required"] = [key for key in schema["required"] if key not in ("name", "output_dir")]
    for section in _sections(schema):
        if section.get("title") == EncoderSettings.__name__:
            section["properties"].update(_encoder_keys(section["properties"]))
            section["additionalProperties"] = False
        else:
            _require_tag(section)
    _share_auxiliary_items(schema)
    # A model that training starts from decides the architecture.
    schema["properties"]["model"]["oneOf"].append(
        {
            "type": "object",
            "required": ["checkpoint"],
            "not": {"required": ["architecture"]},
            "description": "the network of a run or model of ser_hf",
        }
    )
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _sections(value: Any) -> Iterator[dict[str, Any]]:
    """Every object with keys in a schema, at any depth: these are the sections of a recipe."""
    if isinstance(value, dict):
        if isinstance(value.get("properties"), dict) and value.get("type") == "object":
            yield value
        for item in value.values():
            yield from _sections(item)
    elif isinstance(value, list):
        for item in value:
            yield from _sections(item)


def _share_auxiliary_items(schema: dict[str, Any]) -> None:
    """Describe the items of `corpus.auxiliary` once: every corpus has the same ones."""
    for section in list(_sections(schema)):
        auxiliary = section["properties"].get("auxiliary")
        if auxiliary is None:
            continue
        for alternative in auxiliary["anyOf"]:
            if "items" in alternative:
                schema["$defs"]["AuxiliaryItem"] = alternative["items"]
                alternative["items"] = {"$ref": "#/$defs/AuxiliaryItem"}


def _require_tag(section: dict[str, Any]) -> None:
    """Make the key that selects a class required, so that exactly one class of a union fits."""
    for key in ("name", "architecture"):
        tag = section["properties"].get(key, {})
        if ("const" in tag or "enum" in tag) and key not in section.get("required", []):
            if tag.get("default") != "speaker_independent":
                section["required"] = [key, *section.get("required", [])]


def _encoder_keys(section_keys: Collection[str]) -> dict[str, dict[str, str]]:
    """The configuration keys of all supported encoders that the section does not have already."""
    from transformers import AutoConfig

    from ..loading.encoders import ENCODERS
    from ..loading.plan import MANAGED

    families: dict[str, list[str]] = {}
    for model_type in sorted(ENCODERS):
        for key in AutoConfig.for_model(model_type).to_dict():
            if key not in section_keys and key not in MANAGED and not key.startswith("_"):
                families.setdefault(key, []).append(model_type)
    return {
        key: {"description": f"configuration of {', '.join(model_types)}"}
        for key, model_types in sorted(families.items())
    }
