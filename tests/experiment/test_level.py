"""`audio.level: auto`: every clip gets one loudness where speakers stand apart in level."""

import numpy as np
import pytest
import soundfile
from support.testing import write_corpus

import ser_hf
from ser_hf.experiment.data import load_experiment_data
from ser_hf.experiment.level import level_shares, partial_share
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
        (LAST, FOLDS, {}, "loudness"),
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


def test_test_speakers_do_not_decide(tmp_path):
    shares = []
    for name, gains in {"even": EVEN, "last": LAST}.items():
        values = recipe(tmp_path / name, gains, audio={"level": None})
        data = load_experiment_data(read_recipe(values))
        shares += level_shares(data.dataset, data.store, [fold.split for fold in data.folds])
    assert shares[0] == pytest.approx(shares[1])


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
    assert again.model.preparation == report.model.preparation == "loudness normalized, to -23 LUFS"
    with pytest.raises(UserError, match="^audio.level: None here, 'loudness' in the run"):
        ser_hf.run_recipe(values | {"audio": {"level": None}}, resume=True)


def columns(values):
    """A column for each value."""
    return (np.asarray(values)[:, None] == np.unique(values)).astype(float)


def test_the_share_of_speakers_is_what_emotions_leave():
    rng = np.random.default_rng(0)
    speakers = np.repeat(np.arange(12), 20)
    level_of_emotion = np.asarray([-12.0, 0.0, 6.0])
    emotion_of_speaker = np.arange(12) % 3
    nested = emotion_of_speaker[speakers]  # each speaker has one emotion
    loudness = level_of_emotion[nested] + rng.normal(0, 2, len(speakers))
    assert partial_share(loudness, columns(speakers), np.ones((len(speakers), 1))) > 0.8
    assert partial_share(loudness, columns(speakers), columns(nested)) < 0.1

    gains = rng.uniform(-20, 0, 12)[speakers]
    assert partial_share(loudness + gains, columns(speakers), columns(nested)) > 0.7


@pytest.mark.parametrize("clips", [0, 1, 4])
def test_the_share_is_0_where_it_is_undefined(clips):
    own_speaker = np.eye(clips)
    assert partial_share(np.arange(clips, dtype=float), own_speaker, np.ones((clips, 1))) == 0


def test_speakers_that_are_less_than_a_decibel_apart_explain_nothing():
    speakers = np.repeat([0, 1], 50)
    loudness = 0.2 * speakers + np.random.default_rng(0).normal(0, 0.01, 100)
    emotions = np.ones((100, 1))
    assert partial_share(loudness, columns(speakers), emotions) > 0.9
    assert partial_share(loudness, columns(speakers), emotions, least_spread=1.0) == 0
