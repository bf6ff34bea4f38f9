"""The table of corpora by name: modules of this package and plug-ins of other packages.

A corpus is a module with

- a class of its settings, derived from `ser_hf.corpora.settings.CorpusSettings`,
- a function `parse`, which takes these settings and returns a `Listing`,
- the constants that cards quote (`CONSTANTS`), unless the user states them in the settings
  (`ser_hf.corpora.rows.DescribedSettings`),
- for a corpus with an official release, the function `read_name`, which reads a clip from a file
  name, and the constant `RELEASE` (`ser_hf.corpora.release`).

`ser_hf.corpora.mixture`, which combines several corpora, is not in this table.
"""

import importlib
import inspect
import typing
from collections.abc import Mapping
from types import ModuleType

from ..utils.plugins import WithPlugins
from .metadata import Metadata, excludes_commercial_use
from .rows import DescribedSettings
from .settings import CorpusSettings

# Constants that every corpus module has; None stands for an unknown value.
CONSTANTS = ("TITLE", "LICENSE", "LANGUAGE", "URL", "CITATION", "ACTED")

# To add a corpus to ser_hf, write its module and add its name here. Another package adds a corpus
# by an entry point.
_NAMES = (
    "annotations",
    "audformat",
    "audiofolder",
    "cremad",
    "csv",
    "emobox",
    "emodb",
    "hub",
    "iemocap",
    "msp_podcast",
    "ravdess",
    "savee",
    "synthetic",
    "tess",
)
# The module of `csv` has another name, because `csv` is a module of Python.
_MODULE_OF_NAME = {"csv": "tables"}


def class_of_settings(module: ModuleType) -> type[CorpusSettings]:
    """The settings class of a corpus, which is the annotation of the parameter of its `parse`.

    Raises:
        ValueError: if the module has no function `parse` with such a parameter.
    """
    parse = getattr(module, "parse", None)
    parameters = inspect.signature(parse).parameters if inspect.isfunction(parse) else {}
    if len(parameters) == 1:
        (parameter,) = parameters
        settings = typing.get_type_hints(parse).get(parameter)
        if inspect.isclass(settings) and issubclass(settings, CorpusSettings):
            return settings
    raise ValueError(
        "a corpus is a module with a function parse(settings); the annotation of its parameter is "
        "a class derived from ser_hf.corpora.settings.CorpusSettings"
    )


def check_plugin(name: str, module: ModuleType) -> None:
    """Raise a ValueError if the module of a plug-in cannot be used as a corpus."""
    settings = class_of_settings(module)
    name_of_settings = settings.model_fields["name"].default
    if name_of_settings != name:
        raise ValueError(f"the default of name in {settings.__name__} is {name_of_settings!r}")
    missing = [constant for constant in CONSTANTS if not hasattr(module, constant)]
    if missing and not issubclass(settings, DescribedSettings):
        raise ValueError(
            f"its module has no {', '.join(missing)}; None stands for an unknown value"
        )


OWN_CORPORA = {
    name: importlib.import_module(f".{_MODULE_OF_NAME.get(name, name)}", __package__)
    for name in _NAMES
}
SINGLE_CORPORA: Mapping[str, ModuleType] = WithPlugins(OWN_CORPORA, "ser_hf.corpora", check_plugin)


def metadata_of(settings: CorpusSettings) -> Metadata:
    """The metadata of a corpus that is not a mixture."""
    if isinstance(settings, DescribedSettings):
        return settings.metadata()
    module = SINGLE_CORPORA[settings.name]
    return Metadata(
        name=settings.name,
        title=module.TITLE,
        license=module.LICENSE,
        language=module.LANGUAGE,
        url=module.URL,
        citation=module.CITATION,
        acted=module.ACTED,
        # NON_COMMERCIAL is for licenses that the Hub does not list, such as those of corpora that
        # require a registration.
        non_commercial=getattr(module, "NON_COMMERCIAL", excludes_commercial_use(module.LICENSE)),
    )
