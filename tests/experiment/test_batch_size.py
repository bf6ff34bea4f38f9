"""`training.auto_batch_size`: the batch that fits, in the recipe that a run saves."""

import json

import pytest
import yaml
from support.recipes import TINY_CRNN

import ser_hf
from ser_hf.experiment.plan import plan_run
from ser_hf.experiment.reading import read_recipe
from ser_hf.utils.errors import UserError

RECIPE = {
    "name": "automatic",
    "corpus": {"name": "synthetic", "speakers": 6, "takes": 1},
    "protocol": {"name": "speaker_independent", "validation": 0.3, "near_duplicates": "skip"},
    "model": TINY_CRNN,
    "training": {
        "seeds": [1],
        "per_device_train_batch_size": 6,
        "gradient_accumulation_steps": 2,
        "auto_batch_size": True,
        "num_train_epochs": 1,
    },
}


@pytest.fixture
def limited(monkeypatch):
    """A function that lets only batches of so many clips fit; returns the sizes that were tried."""

    def limit(most):
        tried = []

        def fits_in_main_memory(estimate, processes):
            def fits(clips):
                tried.append(clips)
                return clips <= most

            return fits

        monkeypatch.setattr("ser_hf.experiment.batch_size.fits_in_main_memory", fits_in_main_memory)
        return tried

    return limit


def read(folder):
    return read_recipe(RECIPE, [f"output_dir={folder}"])


def batches_of(folder):
    training = yaml.safe_load((folder / "recipe.yaml").read_text())["training"]
    keys = ("per_device_train_batch_size", "gradient_accumulation_steps", "auto_batch_size")
    return tuple(training[key] for key in keys)


def test_a_run_saves_the_batch_that_it_found_and_computes_the_same_with_it(limited, tmp_path):
    limited(5)
    ser_hf.run_recipe(RECIPE, [f"output_dir={tmp_path / 'first'}"])
    assert batches_of(tmp_path / "first") == (4, 3, False)

    tried = limited(1)
    ser_hf.run_recipe(tmp_path / "first" / "recipe.yaml", [f"output_dir={tmp_path / 'again'}"])
    assert tried == []
    assert batches_of(tmp_path / "again") == (4, 3, False)
    first, again = (
        json.loads((tmp_path / name / "report" / "report.json").read_text())
        for name in ("first", "again")
    )
    assert again["metrics"] == first["metrics"]

    # A finished run is found again by the original recipe.
    ser_hf.run_recipe(RECIPE, [f"output_dir={tmp_path / 'first'}"], resume=True)
    assert tried == []


def test_the_whole_step_is_one_batch_if_it_fits(tmp_path):
    description = plan_run(read(tmp_path / "run"))
    assert "12 clips" in description
    assert "an epoch of 12 clips each" in description
    assert not (tmp_path / "run").exists()


def test_a_clip_that_does_not_fit_is_an_error(limited, tmp_path):
    limited(0)
    with pytest.raises(UserError, match=r"^training\.auto_batch_size: .*audio\.max_duration"):
        plan_run(read(tmp_path / "run"))
