"""The settings of each protocol: names, options and refused values."""

import typing

import pytest
from pydantic import ValidationError

from ser_hf.protocols import PROTOCOLS
from ser_hf.protocols.settings import (
    ColumnSettings,
    FileSettings,
    KFoldSettings,
    LeaveOneSpeakerOutSettings,
    RandomSettings,
    SpeakerIndependentSettings,
)


def names_of(settings):
    return typing.get_args(settings.model_fields["name"].annotation)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_settings_name_their_protocol(name):
    assert name in names_of(PROTOCOLS[name].settings)


def test_each_name_of_the_settings_is_a_protocol():
    classes = {protocol.settings for protocol in PROTOCOLS.values()}
    assert sorted(name for settings in classes for name in names_of(settings)) == sorted(PROTOCOLS)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_field_has_a_description(name):
    fields = dict(PROTOCOLS[name].settings.model_fields)
    del fields["name"]
    assert all(field.description for field in fields.values())


def test_the_options_are_without_the_keys_of_all_protocols():
    settings = KFoldSettings(k=3, folds=[2], foil="random", near_duplicates="skip")
    assert settings.options == {"k": 3, "validation": 0.15, "seed": 0}


def test_speakers_are_numbers_and_words_as_written():
    settings = SpeakerIndependentSettings(train=[1, "3-5"], validation=["x:6"], test=0.3)
    assert settings.train == [1, "3-5"]
    assert settings.validation == ["x:6"]
    assert settings.test == 0.3


@pytest.mark.parametrize(
    ("settings", "key", "value"),
    [
        (KFoldSettings, "k", 1),
        (KFoldSettings, "validation", 0),
        (KFoldSettings, "validation", 1),
        (KFoldSettings, "seed", -1),
        (KFoldSettings, "seed", 2**32),
        (KFoldSettings, "folds", []),
        (KFoldSettings, "folds", [0]),
        (KFoldSettings, "folds", [1, 2, 1]),
        (KFoldSettings, "folds", list(range(1, 1002))),
        (KFoldSettings, "foil", "kfold"),
        (KFoldSettings, "near_duplicates", "warn"),
        (KFoldSettings, "path", "splits.json"),
        (LeaveOneSpeakerOutSettings, "k", 3),
        (SpeakerIndependentSettings, "test", []),
        (SpeakerIndependentSettings, "test", 1.5),
        (SpeakerIndependentSettings, "test", "17"),
        (SpeakerIndependentSettings, "train", 0.5),
        (FileSettings, "path", ""),
        (ColumnSettings, "column", []),
        (ColumnSettings, "parts", {"learn": "dev"}),
    ],
)
def test_a_wrong_value_is_refused_under_its_key(settings, key, value):
    with pytest.raises(ValidationError) as error:
        settings.model_validate({key: value})
    assert error.value.errors()[0]["loc"][0] == key


def test_a_file_needs_a_path():
    with pytest.raises(ValidationError, match="path"):
        FileSettings()


def test_numbers_and_booleans_are_words_of_a_column_as_yaml_spells_them():
    settings = ColumnSettings(parts={0: "train", 2.0: "validation", True: "test"})
    assert settings.parts == {"0": "train", "2": "validation", "true": "test"}


def test_random_shares_leave_clips_for_training():
    assert RandomSettings(name="random", validation=0.5, test=0.4).test == 0.4
    with pytest.raises(ValidationError, match="validation: .*leave none for training"):
        RandomSettings(name="random", validation=0.5, test=0.5)
