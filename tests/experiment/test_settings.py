"""The sections audio, freeze, lora, evaluation and hub of a recipe."""

import pytest

from ser_hf.experiment.settings import (
    AudioSettings,
    EvaluationSettings,
    FreezeSettings,
    HubSettings,
    LoraSettings,
)
from ser_hf.training.freezing import Freezing
from ser_hf.utils.errors import UserError
from ser_hf.utils.validation import validated


def test_a_section_may_be_empty():
    for section in (AudioSettings, FreezeSettings, LoraSettings, EvaluationSettings, HubSettings):
        assert validated(section, {}, "section") == section()


def test_freezing_has_the_frozen_parts_without_the_cache():
    assert FreezeSettings(layers=2, feature_encoder=True, cache=True).freezing == Freezing(
        feature_encoder=True, layers=2
    )
    assert FreezeSettings(top_layers=0).freezing == Freezing(top_layers=0)
    assert FreezeSettings(encoder=True).freezing == Freezing(encoder=True)


def test_frozen_parts_that_contradict_each_other_are_refused_when_they_are_used():
    settings = FreezeSettings(layers=1, top_layers=1)
    with pytest.raises(UserError, match=r"^freeze\.top_layers: "):
        settings.freezing  # noqa: B018


def test_a_publication_has_the_settings_of_the_hub():
    settings = HubSettings(
        repo="someone/model",
        private=False,
        report_repo="someone/report",
        space=True,
        benchmark="someone/benchmark",
    )
    assert settings.publication == {
        "repo_id": "someone/model",
        "private": False,
        "report_repo": "someone/report",
        "space": True,
        "benchmark": "someone/benchmark",
    }


@pytest.mark.parametrize("repo", ["someone/model", "model", "a-b/c_d.e"])
def test_names_of_repositories_are_accepted(repo):
    assert HubSettings(repo=repo).repo == repo


def test_keys_of_lora_need_a_rank():
    with pytest.raises(UserError) as error:
        validated(LoraSettings, {"alpha": 8}, "lora")
    assert str(error.value) == (
        "lora.rank: missing; the other keys of lora have no effect without it (8 is usual)"
    )


@pytest.mark.parametrize(
    ("section", "values", "key"),
    [
        (AudioSettings, {"sampling_rate": 100}, "sampling_rate"),
        (AudioSettings, {"level": "loud"}, "level"),
        (AudioSettings, {"max_duration": 0.01}, "max_duration"),
        (FreezeSettings, {"layers": -1}, "layers"),
        (LoraSettings, {"rank": 0}, "rank"),
        (LoraSettings, {"rank": 8, "dropout": 1}, "dropout"),
        (LoraSettings, {"rank": 8, "targets": []}, "targets"),
        (EvaluationSettings, {"part": "train"}, "part"),
        (EvaluationSettings, {"window": 0.01}, "window"),
        (EvaluationSettings, {"bootstrap": 0}, "bootstrap"),
        (EvaluationSettings, {"confidence": 1}, "confidence"),
        (EvaluationSettings, {"map": "isomap"}, "map"),
        (HubSettings, {"repo": "some one/model"}, "repo"),
        (HubSettings, {"repo": "a/b/c"}, "repo"),
        (HubSettings, {"report_repo": "someone/report"}, "report_repo"),
        (HubSettings, {"space": True}, "space"),
        (HubSettings, {"benchmark": "someone/benchmark"}, "benchmark"),
    ],
)
def test_a_wrong_value_is_named_by_its_key(section, values, key):
    with pytest.raises(UserError, match=rf"^section\.{key}: "):
        validated(section, values, "section")
