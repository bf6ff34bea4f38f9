"""`audio.level: auto`: every clip gets one loudness where speakers stand apart in level."""

import json

import pytest
import soundfile

import ser_hf
from ser_hf.experiment.data import load_experiment_data
from ser_hf.experiment.recipe_checks import read_recipe
from ser_hf.testing import write_corpus
from ser_hf.utils.errors import UserError
from ser_hf.utils.yaml import read_yaml

GAINS = {"even": (0, 0, 0, 0), "apart": (0, -10, -20, -30), "last": (0, 0, 0, -30)}
SPEAKERS = ("03", "08", "09", "10")
CLASSICAL = {"architecture": "mfcc_linear"}
SMALL = {"architecture": "crnn", "channels": [4, 4, 4, 4]}
FOLDS = {"name": "leave_one_speaker_out"}
LISTS = {"name": "speaker_independent", "train": ["03", "08"], "validation": ["09"], "test": ["10"]}


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """The same clips with a constant gain per speaker."""
    roots = {name: tmp_path_factory.mktemp(name) for name in GAINS}
    for name, root in roots.items():
        gains = dict(zip(SPEAKERS, GAINS[name], strict=True))
        for path in write_corpus("emodb", root, speakers=4, takes=1):
            samples, rate = soundfile.read(path)
            soundfile.write(path, samples * 10 ** (gains[path.name[:2]] / 20), rate)
    return roots


def recipe(root, folder, model=CLASSICAL, protocol=LISTS, **audio):
    return {
        "output_dir": str(folder),
        "corpus": {"name": "emodb", "root": str(root)},
        "protocol": protocol,
        "audio": audio,
        "model": model,
        "training": {"num_train_epochs": 1} if model is SMALL else {"grid": {"C": [1.0]}},
        "evaluation": {"bootstrap": 10},
    }


@pytest.mark.parametrize(
    ("gains", "protocol", "audio", "level"),
    [
        ("even", FOLDS, {}, None),
        ("apart", FOLDS, {}, "loudness"),
        ("apart", LISTS, {}, "loudness"),
        ("last", FOLDS, {}, "loudness"),  # in other folds the last speaker trains
        ("last", LISTS, {}, None),  # test speakers do not decide
        ("apart", LISTS, {"level": None}, None),
        ("apart", LISTS, {"level": "peak"}, "peak"),
        ("apart", LISTS, {"normalize": True}, None),  # the extractor scales every clip anyway
        ("apart", LISTS, {"sampling_rate": 6000}, None),  # too low for a loudness
    ],
)
def test_the_speakers_of_train_and_validation_decide(roots, tmp_path, gains, protocol, audio, level):
    model = CLASSICAL | ({"f_max": None} if "sampling_rate" in audio else {})
    data = load_experiment_data(read_recipe(recipe(roots[gains], tmp_path, model, protocol, **audio)))
    assert data.plan.preparation.level == level
    assert len([note for note in data.notes if "audio.level: auto" in note]) == (level == "loudness")


@pytest.mark.parametrize("model", [CLASSICAL, SMALL], ids=["sklearn", "trainer"])
def test_the_chosen_level_is_published_and_resumed(roots, tmp_path, model):
    values = recipe(roots["apart"], tmp_path, model)
    report = ser_hf.run_recipe(values)
    saved = read_yaml(tmp_path / "recipe.yaml")
    assert saved["audio"]["level"] == "loudness"
    assert "loudness normalized" in report.model.preparation
    assert [note for note in report.warnings if "audio.level: auto became loudness" in note]
    extractor = json.loads((tmp_path / "model" / "preprocessor_config.json").read_text())
    assert (extractor["level"], extractor["target_level"]) == ("loudness", -23)

    (tmp_path / "report" / "report.json").unlink()  # as if the run had been interrupted before its end
    resumed = ser_hf.run_recipe(values, resume=True)
    assert resumed.metrics == pytest.approx(report.metrics)
    again = ser_hf.run_recipe(saved | {"output_dir": str(tmp_path / "again")})  # what `ser-hf reproduce` runs
    assert again.model.preparation == report.model.preparation
    with pytest.raises(UserError, match="^audio.level: None here, 'loudness' in the run"):
        ser_hf.run_recipe(values | {"audio": {"level": None}}, resume=True)
