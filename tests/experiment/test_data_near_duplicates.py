"""Near duplicates in the data of a recipe: counted, or excluded by their ids."""

from pathlib import Path

import pytest
import soundfile
from support.testing import write_corpus

from ser_hf.experiment.data import load_experiment_data
from ser_hf.experiment.reading import read_recipe

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture
def overrides(tmp_path):
    """Overrides for a table of six speakers. A take of one is also a cut and quieter clip of
    another.
    """
    write_corpus("csv", tmp_path / "corpus", speakers=6, takes=1)
    clips = tmp_path / "corpus" / "clips"
    samples, rate = soundfile.read(clips / "s01_angry_0.wav", dtype="float32")
    soundfile.write(clips / "s05_angry_0.wav", 0.4 * samples[1600:], rate, subtype="PCM_16")
    return [
        f"corpus={{name: csv, root: {tmp_path / 'corpus' / 'clips.csv'}}}",
        "protocol={train: [s00, s01, s02, s03], validation: [s04], test: [s05]}",
        f"output_dir={tmp_path / 'run'}",
    ]


def load(*overrides):
    return load_experiment_data(read_recipe(RECIPES / "quickstart.yaml", overrides))


def test_a_take_in_two_splits_is_counted_or_excluded_by_the_recipe(overrides):
    counted = load(*overrides, "protocol.near_duplicates=tell")
    audit = counted.folds[0].audit
    assert audit.shared["train/validation"]["near_duplicates"] == 0
    assert audit.shared["train/test"]["near_duplicates"] == 1
    assert audit.shared["validation/test"]["near_duplicates"] == 0
    assert "near_duplicates" not in audit.apart["train/test"]

    excluded = load(*overrides, "corpus.exclude=[csv/clips/s01_angry_0]")
    assert excluded.folds[0].audit.shared["train/test"]["near_duplicates"] == 0
    assert len(excluded.dataset) == len(counted.dataset) - 1
