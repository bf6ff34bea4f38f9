"""The corpora of one release each: the table of their modules, their options, and what cards say of them."""

import inspect
import typing
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from ..utils.yaml import coerce, unknown_key
from . import (
    audformat,
    audiofolder,
    cremad,
    csv_table,
    emobox,
    emodb,
    esd,
    hub,
    iemocap,
    meld,
    ravdess,
    savee,
    synthetic,
    tess,
)

SINGLE = {
    "audformat": audformat,
    "audiofolder": audiofolder,
    "cremad": cremad,
    "csv": csv_table,
    "emobox": emobox,
    "emodb": emodb,
    "esd": esd,
    "hub": hub,
    "iemocap": iemocap,
    "meld": meld,
    "ravdess": ravdess,
    "savee": savee,
    "synthetic": synthetic,
    "tess": tess,
}


def parser_options(module: ModuleType) -> dict[str, tuple[Any, Any]]:
    """Name -> (annotation, default) of the options that a module's `parse` takes beside root and on_unknown, and its
    `facts` beside those."""
    options: dict[str, tuple[Any, Any]] = {}
    for function in (module.parse, getattr(module, "facts", None)):
        if function is not None:
            hints = typing.get_type_hints(function)
            for option, parameter in inspect.signature(function).parameters.items():
                if option not in ("root", "on_unknown") and parameter.kind != inspect.Parameter.VAR_KEYWORD:
                    options.setdefault(option, (hints[option], parameter.default))
    return options


def checked(given: Mapping[str, Any], known: Mapping[str, tuple[Any, Any]], key: str) -> dict[str, Any]:
    """Options coerced to their annotations. Raises a `UserError` naming ``key.option`` for an unknown or ill-typed
    one."""
    for option in given:
        if option not in known:
            raise unknown_key(f"{key}.{option}", known)
    return {option: coerce(value, known[option][0], f"{key}.{option}") for option, value in given.items()}


def facts(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What cards and reports say of one corpus; see `ser_hf.corpora.corpus_facts`."""
    module = SINGLE[name]
    if hasattr(module, "facts"):
        defaults = {option: default for option, (_, default) in parser_options(module).items()}
        told = module.facts(**defaults | dict(options))
    else:
        keys = ("title", "license", "language", "url", "citation", "acted")
        told = {key: getattr(module, key.upper()) for key in keys}
    # Licences of corpora that one registers for are no Hub licence; their modules say what they forbid.
    non_commercial = getattr(module, "NON_COMMERCIAL", "-nc" in (told["license"] or ""))
    return {"name": name, "non_commercial": non_commercial} | told
