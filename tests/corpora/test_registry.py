"""Modules as corpora: what a module must have."""

from types import ModuleType
from typing import Literal

import pytest

from ser_hf.corpora.ravdess import RavdessSettings
from ser_hf.corpora.registry import (
    CONSTANTS,
    OWN_CORPORA,
    check_plugin,
    class_of_settings,
    metadata_of,
)
from ser_hf.corpora.rows import TableSettings
from ser_hf.corpora.settings import CorpusSettings


class ToySettings(CorpusSettings):
    name: Literal["toy"] = "toy"


class ToyTableSettings(TableSettings):
    name: Literal["toy"] = "toy"
    corpus_name: str = "toy"


def module(settings=ToySettings, constants=CONSTANTS):
    """A module with a parser of these settings and these constants."""

    def parse(settings):
        raise NotImplementedError

    parse.__annotations__["settings"] = settings
    corpus = ModuleType("toy")
    corpus.parse = parse
    for name in constants:
        setattr(corpus, name, None)
    return corpus


def test_the_class_of_the_settings_is_the_annotation_of_the_parser():
    assert class_of_settings(OWN_CORPORA["ravdess"]) is RavdessSettings
    assert class_of_settings(module()) is ToySettings


@pytest.mark.parametrize("annotation", [dict, str, None])
def test_another_annotation_is_refused(annotation):
    with pytest.raises(ValueError, match=r"a function parse\(settings\)"):
        class_of_settings(module(annotation))


def test_a_plugin_with_all_constants_is_a_corpus():
    check_plugin("toy", module())


def test_a_missing_constant_is_named():
    constants = [name for name in CONSTANTS if name not in ("LICENSE", "URL")]
    with pytest.raises(ValueError, match="has no LICENSE, URL; None stands for"):
        check_plugin("toy", module(constants=constants))


def test_a_table_states_its_metadata_in_its_settings():
    check_plugin("toy", module(ToyTableSettings, constants=()))


def test_a_plugin_with_settings_of_another_name_is_refused():
    with pytest.raises(ValueError, match="the default of name in ToySettings is 'toy'"):
        check_plugin("tool", module())


def test_metadata_come_from_the_module_or_from_the_settings():
    ravdess = metadata_of(RavdessSettings())
    assert ravdess.title == "RAVDESS"
    assert ravdess.non_commercial
    settings = class_of_settings(OWN_CORPORA["csv"])(title="Calls", license="cc0-1.0", url="u")
    calls = metadata_of(settings)
    assert (calls.name, calls.title, calls.license) == ("csv", "Calls", "cc0-1.0")
    assert (calls.url, calls.non_commercial) == ("u", False)
