"""`audio.level: auto`: every clip gets one loudness where speakers stand apart in level."""

import pytest
import soundfile
from support.testing import write_corpus

import ser_hf
from ser_hf.experiment.data import load_experiment_data
from ser_hf.experiment.reading import read_recipe
from ser_hf.models.preparation import PreparedFeatureExtractor
from ser_hf.utils.errors import UserError
from ser_hf.utils.yaml import read_yaml

EVEN, APART, LAST = (
    {"08": a, "09": b, "10": c, "03": 0} for a, b, c in [(0, 0, 0), (-10, -20, -30), (0, 0, -30)]
)
FOLDS = {"name": "leave_one_speaker_out"}
TRAINED = {
    "model": {"architecture": "crnn", "channels": [4] * 4},
    "training": {"num_train_epochs": 1},
}
LISTS = {"name": "speaker_independent", "train": ["03", "08"], "validation": ["09"], "test": ["10"]}


def recipe(folder, gains, protocol=LISTS, audio=None, **sections):
    for path in write_corpus("emodb", folder / "corpus", speakers=4, takes=1):
        samples, rate = soundfile.read(path)
        soundfile.write(path, samples * 10 ** (gains[path.name[:2]] / 20), rate)
    corpus = {"name": "emodb", "root": str(folder / "corpus")}
    values = {
        "output_dir": str(folder / "run"),
        "corpus": corpus,
        "protocol": protocol,
        "audio": audio or {},
    }
    return values | {"model": {"architecture": "mfcc_linear"}} | sections


@pytest.mark.parametrize(
    ("gains", "protocol", "audio", "level"),
    [
        (EVEN, FOLDS, {}, None),
        (APART, FOLDS, {}, "loudness"),
        (APART, LISTS, {}, "loudness"),
        (LAST, FOLDS, {}, "loudness"),  # in other folds the last speaker trains
        (LAST, LISTS, {}, None),  # test speakers do not decide
        (APART, LISTS, {"level": "peak"}, "peak"),
        (APART, LISTS, {"normalize": True}, None),  # the extractor scales every clip anyway
        (APART, LISTS, {"sampling_rate": 6000}, None),  # too low for a loudness
    ],
)
def test_the_speakers_of_train_and_validation_decide(tmp_path, gains, protocol, audio, level):
    data = load_experiment_data(read_recipe(recipe(tmp_path, gains, protocol, audio)))
    assert data.plan.preparation.level == level
    assert len([note for note in data.notes if "audio.level: auto" in note]) == (
        level == "loudness"
    )


@pytest.mark.slow
@pytest.mark.parametrize("sections", [{}, TRAINED], ids=["sklearn", "trainer"])
def test_the_chosen_level_is_published_and_resumed(tmp_path, sections):
    values = recipe(tmp_path, APART, **sections)
    report = ser_hf.run_recipe(values)
    run = tmp_path / "run"
    assert (saved := read_yaml(run / "recipe.yaml"))["audio"]["level"] == "loudness"
    assert [note for note in report.warnings if "audio.level: auto became loudness" in note]
    assert PreparedFeatureExtractor.from_pretrained(run / "model").target_level == -23

    (run / "report" / "report.json").unlink()  # as if the run had been interrupted before its end
    assert ser_hf.run_recipe(values, resume=True).metrics == pytest.approx(report.metrics)
    # what `ser-hf reproduce` runs
    again = ser_hf.run_recipe(saved | {"output_dir": str(tmp_path / "again")})
    assert again.model.preparation == report.model.preparation == "loudness normalized, to -23 dB"
    with pytest.raises(UserError, match="^audio.level: None here, 'loudness' in the run"):
        ser_hf.run_recipe(values | {"audio": {"level": None}}, resume=True)
