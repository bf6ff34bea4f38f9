"""The table of corpora, the options of each, and the metadata that cards and reports quote."""

import importlib
import inspect
import typing
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from ..utils.yaml import coerce, unknown_key

# Name in recipes -> module. `mixture` combines these and is added in `ser_hf.corpora`.
SINGLE_CORPORA: dict[str, ModuleType] = {
    name: importlib.import_module(f".{module}", __package__)
    for name, module in {
        "audformat": "audformat",
        "audiofolder": "audiofolder",
        "cremad": "cremad",
        "csv": "csv_table",
        "emobox": "emobox",
        "emodb": "emodb",
        "esd": "esd",
        "hub": "hub",
        "iemocap": "iemocap",
        "meld": "meld",
        "ravdess": "ravdess",
        "savee": "savee",
        "synthetic": "synthetic",
        "tess": "tess",
    }.items()
}


def parser_options(module: ModuleType) -> dict[str, tuple[Any, Any]]:
    """Name -> (annotation, default) of a corpus's options: the parameters of its `parse` (without root and on_unknown)
    and of its `facts`, and the fields of `RowParser` where `parse` passes its options on to one."""
    options: dict[str, tuple[Any, Any]] = {}
    for source in (module.parse, getattr(module, "ROW_OPTIONS", None), getattr(module, "facts", None)):
        if source is not None:
            hints = typing.get_type_hints(source)
            for option, parameter in inspect.signature(source).parameters.items():
                if option not in ("root", "on_unknown") and parameter.kind != inspect.Parameter.VAR_KEYWORD:
                    options.setdefault(option, (hints[option], parameter.default))
    return options


def checked(given: Mapping[str, Any], known: Mapping[str, tuple[Any, Any]], key: str) -> dict[str, Any]:
    """Options converted to their annotated types.

    Raises:
        UserError: naming ``key.option`` for an unknown option or a wrong type.
    """
    for option in given:
        if option not in known:
            raise unknown_key(f"{key}.{option}", known)
    return {option: coerce(value, known[option][0], f"{key}.{option}") for option, value in given.items()}


def facts(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata of one corpus; see `ser_hf.corpora.corpus_facts`."""
    module = SINGLE_CORPORA[name]
    if hasattr(module, "facts"):
        defaults = {option: default for option, (_, default) in parser_options(module).items()}
        metadata = module.facts(**defaults | dict(options))
    else:
        keys = ("title", "license", "language", "url", "citation", "acted")
        metadata = {key: getattr(module, key.upper()) for key in keys}
    # A corpus that requires registration has no license of the Hub; its module sets NON_COMMERCIAL.
    non_commercial = getattr(module, "NON_COMMERCIAL", "-nc" in (metadata["license"] or ""))
    return {"name": name, "non_commercial": non_commercial} | metadata
