"""What the Hub would refuse or not understand in a model card, as far as that can be told without asking it.

The Hub itself takes a mistyped key for one of the author's own, and says nothing.
"""

import difflib
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from huggingface_hub import ModelCard
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from ..report.citations import INDEX, KEYS, LANGUAGES, LICENSES, NO_LANGUAGES, RELATIONS
from ..utils.errors import UserError
from ..utils.yaml import parse_yaml

_FRONT = re.compile(r"\A---[ \t]*\n(.*?)\n---[ \t]*(?:\n|\Z)", re.DOTALL)
_PICTURE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)")
_GAPS = ("[More Information Needed]", "{{ ", "{% ")


def check_card(text: str, files: Collection[str] | None = None) -> list[str]:
    """Problems of a speech emotion recogniser's card, a sentence each, which names the key; empty where all is well.

    Args:
        text: of README.md.
        files: names of what is published beside it, to look for the pictures that it shows.
    """
    front = _FRONT.match(text)
    if front is None:
        return ["no metadata: the card does not begin with YAML between two lines of ---"]
    try:
        data = parse_yaml(front[1], "the card's metadata")
    except UserError as error:
        return [str(error)]
    if not isinstance(data, dict):
        return ["the metadata are no mapping of keys to values"]
    found = [*_keys(data), *_licence(data), *_lists(data), *_relations(data), *_emissions(data)]
    found += _index(data["model-index"]) if "model-index" in data else ["model-index: missing; no result is shown"]
    if not found:
        try:
            ModelCard(text)
        except (ValueError, TypeError, KeyError) as error:
            found.append(f"huggingface_hub cannot read it: {error}")
    return found + _body(text[front.end() :], files)


def _keys(data: Mapping[str, Any]) -> Iterable[str]:
    for key, value in data.items():
        if key not in KEYS and not str(key).startswith("extra_gated_"):
            near = difflib.get_close_matches(str(key), KEYS, n=1)
            yield f"{key}: no key that the Hub knows" + (f"; {near[0]} is meant?" if near else "")
        elif value in (None, "", [], {}):
            yield f"{key}: empty; leave it out"
    for key, only in (("pipeline_tag", "audio-classification"), ("library_name", "transformers")):
        if data.get(key) != only:
            told = repr(data[key]) if key in data else "missing"
            yield f"{key}: {told}; `pipeline` loads such a model where it is {only}"


def _licence(data: Mapping[str, Any]) -> Iterable[str]:
    name, link = data.get("license_name"), data.get("license_link")
    license = data.get("license")
    for one in license if isinstance(license, list) else [license] if license is not None else []:
        if one not in LICENSES:
            near = difflib.get_close_matches(str(one).lower(), LICENSES, n=1)
            yield f"license: {one!r} is none that the Hub knows" + (f"; {near[0]} is meant?" if near else "")
    if license == "other" and not name:
        yield "license: other needs a license_name"
    if license != "other" and (name or link):
        yield f"license_name and license_link are for license: other, not for {license}"
    if name and (not isinstance(name, str) or not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", name)):
        yield f"license_name: {name!r}; small letters, digits, dots and hyphens only"
    if link and not re.match(r"https?://|LICENSE(\.md)?$", str(link)):
        yield f"license_link: {link!r} is neither an address nor LICENSE or LICENSE.md"


def _lists(data: Mapping[str, Any]) -> Iterable[str]:
    for key in ("language", "tags", "metrics", "datasets", "base_model"):
        value = data.get(key)
        items = value if isinstance(value, list) else [] if value is None else [value]
        if not all(isinstance(item, str) for item in items):
            yield f"{key}: {value!r}; words are asked for"
            continue
        if key in ("tags", "metrics") and not isinstance(value, list | None):
            yield f"{key}: {value!r}; a list is asked for"
        checks: dict[str, Callable[[str], bool]] = {"language": _is_language}
        checks |= dict.fromkeys(("datasets", "base_model"), _is_id)
        wrong = [item for item in items if not checks.get(key, bool)(item)]
        if wrong:
            what = "no code of ISO 639" if key == "language" else "no id on the Hub" if key in checks else "empty"
            yield f"{key}: {', '.join(map(repr, wrong))}: {what}"


def _is_language(code: str) -> bool:
    return code in LANGUAGES or code in NO_LANGUAGES or re.fullmatch(r"[a-z]{3}", code) is not None


def _is_id(name: str) -> bool:
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def _relations(data: Mapping[str, Any]) -> Iterable[str]:
    relation = data.get("base_model_relation")
    if relation is not None and relation not in RELATIONS:
        yield f"base_model_relation: {relation!r} is none of {', '.join(RELATIONS)}"
    if relation is not None and "base_model" not in data:
        yield "base_model_relation: of no base_model"


def _emissions(data: Mapping[str, Any]) -> Iterable[str]:
    told = data.get("co2_eq_emissions")
    grams = told.get("emissions") if isinstance(told, Mapping) else told
    if told is not None and not _is_figure(grams):
        yield f"co2_eq_emissions: {told!r} tells no number of grams (emissions)"


def _index(entries: Any) -> list[str]:
    if not isinstance(entries, list) or not entries:
        return ["model-index: a list with one model is asked for"]
    found = []
    for number, entry in enumerate(entries):
        place = f"model-index[{number}]"
        if not isinstance(entry, Mapping) or not entry.get("name"):
            found.append(f"{place}.name: missing")
            continue
        results = entry.get("results")
        if not isinstance(results, list) or not results:
            found.append(f"{place}.results: missing")
            continue
        for position, result in enumerate(results):
            found += _result(result, f"{place}.results[{position}]")
    return found


def _result(result: Any, place: str) -> list[str]:
    found = _entry(result, "results", place)
    if found:
        return found
    found = [problem for part in ("task", "dataset") for problem in _entry(result[part], part, f"{place}.{part}")]
    if "source" in result:
        found += _entry(result["source"], "source", f"{place}.source")
    if not isinstance(result["metrics"], list):
        return [*found, f"{place}.metrics: no list"]
    for number, metric in enumerate(result["metrics"]):
        own = f"{place}.metrics[{number}]"
        wrong = _entry(metric, "metrics", own)
        if not wrong and not isinstance(metric["value"], str | list | Mapping) and not _is_figure(metric["value"]):
            wrong = [f"{own}.value: {metric['value']!r} is no figure"]
        found += wrong
    return found


def _entry(value: Any, kind: str, place: str) -> list[str]:
    """A part of the index that lacks what it must have, or has what nobody reads."""
    if not isinstance(value, Mapping):
        return [f"{place}: no keys"]
    needed, others = INDEX[kind]
    lacking = [f"{place}.{key}: missing" for key in needed if value.get(key) in (None, "")]
    unread = [f"{place}.{key}: no key that the Hub knows" for key in value if key not in (*needed, *others)]
    return lacking + unread


def _is_figure(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _body(text: str, files: Collection[str] | None) -> list[str]:
    found = [f"the text was not filled: it has {gap.strip()}" for gap in _GAPS if gap in text]
    if not text.strip():
        found.append("the card has no text")
    if files is not None:
        shown = [name for name in _PICTURE.findall(text) if "://" not in name]
        found += [f"it shows {name}, which does not stand beside it" for name in shown if name not in files]
    return found
