"""Completes recipes, keys of recipes, corpora, runs and models in the shell.

The shell starts a process for each completion, so nothing here imports a large library. The keys
and their values come from the JSON schema of recipes, which is a file of the package.
"""

import contextlib
import dataclasses
import functools
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from typer import Context

from ..utils.errors import UserError
from ..utils.files import packaged

# A word of the shell with its description, which zsh, fish and PowerShell show.
Completions = list[tuple[str, str]]
# The keys that select one class of a section; its other keys follow from their values.
_SELECTING = ("name", "architecture")
_NOT_IN_WORDS = re.compile(r"[\s'\"\\]")


# Recipes and corpora


def complete_recipe(incomplete: str) -> Completions:
    """The built-in recipes, and the YAML files of the folder."""
    completions = [] if "/" in incomplete else complete_built_in_recipe(incomplete)
    for entry in _entries(incomplete):
        if entry.name.endswith((".yaml", ".yml")):
            completions.append((entry.word, "a file"))
    return completions


def complete_built_in_recipe(incomplete: str) -> Completions:
    """The built-in recipes, each with its first line."""
    from ..experiment.recipe_source import built_in_recipes

    completions = []
    for name, file in built_in_recipes().items():
        if name.startswith(incomplete):
            first_line = file.read_text(encoding="utf-8").partition("\n")[0]
            completions.append((name, first_line.lstrip("# ")))
    return completions


def complete_corpus(incomplete: str) -> Completions:
    """The names of corpora."""
    return list(recipe_keys({}, "corpus")["corpus.name"].values.items())


def complete_download(incomplete: str) -> Completions:
    """The corpora that have a download, and the word for published weights."""
    # The package of corpora would load large libraries.
    manifests = Path(__file__).parents[1] / "corpora" / "manifests"
    names = {file.name.partition(".")[0] for file in manifests.iterdir()}
    corpora = [pair for pair in complete_corpus(incomplete) if pair[0] in names]
    return [*corpora, ("weights", "published weights of a network")]


def complete_override(context: Context, incomplete: str) -> Completions:
    """The keys of a recipe, and the values of a key that has a few."""
    words = _joined(context.params.get("overrides") or ())
    recipe = _recipe_with(context.params.get("recipe"), words)
    return _keys_or_values(recipe_keys(recipe), words, incomplete)


def complete_corpus_word(context: Context, incomplete: str) -> Completions:
    """The options of the corpus that a command line names, and the keys of the protocol."""
    given = [context.params.get("root") or "", *(context.params.get("words") or ())]
    words = _joined([word for word in given if word])
    corpus = {"name": context.params.get("corpus")}
    keys = {
        path.removeprefix("corpus."): key
        for path, key in recipe_keys({"corpus": corpus}, "corpus").items()
        if path != "corpus.name"
    }
    keys |= recipe_keys({}, "protocol")
    return _keys_or_values(keys, words, incomplete)


# Runs and models


def complete_run(incomplete: str) -> Completions:
    """The folders of runs: below the folder of the word, and one folder further down."""
    return _folders_with(incomplete, "recipe.yaml", "a run")


def complete_model(incomplete: str) -> Completions:
    """Runs, folders of models, and ONNX files."""
    files = [
        (entry.word, "an ONNX file")
        for entry in _entries(incomplete)
        if entry.name.endswith(".onnx")
    ]
    models = _folders_with(incomplete, "config.json", "a model")
    return [*complete_run(incomplete), *models, *files]


@dataclasses.dataclass(frozen=True)
class _Entry:
    """A file or folder, with the word that stands for it on the command line."""

    word: str
    name: str
    path: str


def _entries(incomplete: str) -> Iterator[_Entry]:
    """The files and folders whose words begin with `incomplete`, sorted; hidden ones are left out.

    A word with spaces or quotes is left out, because the shells of Typer do not quote it.
    """
    start = incomplete[: incomplete.rfind("/") + 1]
    folder = os.path.expanduser(start) or os.curdir
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(folder)):
            word = start + name
            is_shown = not name.startswith(".") and not _NOT_IN_WORDS.search(word)
            if is_shown and word.startswith(incomplete):
                yield _Entry(word, name, os.path.join(folder, name))


def _folders_with(incomplete: str, file: str, description: str) -> Completions:
    """The folders that contain a file; other folders are searched for such folders."""
    completions = []
    for entry in _entries(incomplete):
        if not os.path.isdir(entry.path):
            continue
        if os.path.isfile(os.path.join(entry.path, file)):
            completions.append((entry.word, description))
            continue
        for inner in _entries(f"{entry.word}/"):
            if os.path.isfile(os.path.join(inner.path, file)):
                completions.append((inner.word, description))
    return completions


# Keys of recipes


@dataclasses.dataclass
class RecipeKey:
    """A key of recipes: its description, and its values with theirs; no values if any fits."""

    description: str
    values: dict[str, str] = dataclasses.field(default_factory=dict)


def recipe_keys(recipe: Mapping[str, Any], section: str | None = None) -> dict[str, RecipeKey]:
    """The keys that a recipe may have, by their paths, such as ``training.learning_rate``.

    A corpus, a network and a protocol have the keys of the class that the recipe selects. Where it
    selects none, they have only the key that selects one.

    Args:
        section: only the keys of this section.
    """
    keys: dict[str, RecipeKey] = {}
    schema = _schema()
    for name, content in schema["properties"].items():
        if name != "provenance" and section in (None, name):
            _collect(content, name, recipe.get(name), keys)
    return keys


@functools.cache
def _schema() -> dict[str, Any]:
    """The JSON schema of recipes."""
    file = packaged("recipes") / "recipe.schema.json"
    return json.loads(file.read_text(encoding="utf-8"))


def _collect(content: Mapping[str, Any], path: str, value: Any, keys: dict[str, RecipeKey]) -> None:
    """Add the keys of one value of the schema to `keys`.

    Args:
        path: the path of the value.
        value: the value in the recipe, if there is one.
    """
    alternatives = list(_alternatives(content))
    sections = [item for item in alternatives if "properties" in item]
    if not sections:
        _add_key(content, alternatives, path, keys)
        return
    values = value if isinstance(value, Mapping) else {}
    for item in sections:
        selecting = _selecting_key(item)
        is_selected = selecting is None or len(sections) == 1
        if selecting is not None:
            tag = item["properties"][selecting]
            _add_key(tag, [tag], f"{path}.{selecting}", keys)
            is_selected |= values.get(selecting) in _values_of(tag)
        if not is_selected:
            continue
        for name, inner in item["properties"].items():
            if name != selecting:
                _collect(inner, f"{path}.{name}", values.get(name), keys)


def _alternatives(content: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The forms that a value may have."""
    if "$ref" in content:
        name = content["$ref"].rpartition("/")[2]
        yield from _alternatives(_schema()["$defs"][name])
        return
    inner = content.get("anyOf") or content.get("oneOf")
    if inner is None:
        yield content
        return
    for item in inner:
        yield from _alternatives(item)


def _selecting_key(section: Mapping[str, Any]) -> str | None:
    """The key whose value selects this class of a section; None if there is one class."""
    for name in _SELECTING:
        tag = section["properties"].get(name, {})
        if _values_of(tag):
            return name
    return None


def _add_key(
    content: Mapping[str, Any],
    alternatives: Sequence[Mapping[str, Any]],
    path: str,
    keys: dict[str, RecipeKey],
) -> None:
    """Add a key, or further values of it."""
    description = str(content.get("description", ""))
    key = keys.setdefault(path, RecipeKey(description))
    for item in alternatives:
        for value in _values_of(item):
            word = value if isinstance(value, str) else json.dumps(value)
            key.values[word] = str(item.get("description", description))
    may_be_null = any(item.get("type") == "null" for item in alternatives)
    if key.values and may_be_null:
        key.values["null"] = description


def _values_of(content: Mapping[str, Any]) -> list[Any]:
    """The values of a form that has a few."""
    if "const" in content:
        return [content["const"]]
    if content.get("type") == "boolean":
        return [True, False]
    return content.get("enum", [])


# Words of the command line


def _joined(words: Sequence[str]) -> list[str]:
    """The words of a command line, with ``key=value`` in one word.

    Bash separates words at ``=``, and passes ``key``, ``=`` and ``value``.
    """
    joined: list[str] = []
    for word in words:
        if joined and (word == "=" or joined[-1].endswith("=")):
            joined[-1] += word
        else:
            joined.append(word)
    return joined


def _keys_or_values(
    keys: Mapping[str, RecipeKey], words: Sequence[str], incomplete: str
) -> Completions:
    """The keys that begin with the incomplete word, or the values after ``key=``."""
    path, equals, _ = incomplete.partition("=")
    if equals:
        return _values_after(keys, path, f"{path}=")
    last = words[-1] if words else ""
    if last.endswith("="):  # bash: the word after the equals sign
        return _values_after(keys, last.removesuffix("="), "")
    if last in keys and not incomplete:  # bash: nothing after the equals sign
        return _values_after(keys, last, "")
    return [(f"{path}=", key.description) for path, key in keys.items()]


def _values_after(keys: Mapping[str, RecipeKey], path: str, prefix: str) -> Completions:
    """The values of a key, each with a prefix."""
    if path not in keys:
        return []
    return [(prefix + value, text) for value, text in keys[path].values.items()]


def _recipe_with(source: str | None, words: Sequence[str]) -> Mapping[str, Any]:
    """The values of a recipe with overrides; empty if it cannot be read."""
    from ..experiment.recipe_source import recipe_values

    overrides = [word for word in words if not word.endswith("=") and "=" in word]
    for changes in (overrides, []):
        with contextlib.suppress(UserError, OSError, ValueError):
            values = recipe_values(source or {}, changes)
            return _with_default_classes(values)
    return {}


def _with_default_classes(values: dict[str, Any]) -> dict[str, Any]:
    """Name the classes of the network and the protocol that a recipe leaves out."""
    model = values.get("model")
    if isinstance(model, dict) and "architecture" not in model:
        values["model"] = {**model, "architecture": "encoder"}
    protocol = values.get("protocol") or {}
    if isinstance(protocol, dict):
        values["protocol"] = {"name": "speaker_independent", **protocol}
    return values
