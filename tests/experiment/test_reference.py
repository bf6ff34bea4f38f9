"""reference.npz of a run: clips of the evaluated split, and the logits of the model for them."""

import numpy as np
import pytest
import torch
from support.close import assert_near
from support.recipes import TINY_CRNN

from ser_hf.experiment.clips import evaluated_rows
from ser_hf.experiment.context import RunContext
from ser_hf.experiment.data import load_experiment_data
from ser_hf.experiment.reading import read_recipe
from ser_hf.experiment.reference import save_reference
from ser_hf.inference.reference import LONGEST, read_reference
from ser_hf.loading.build import build_model
from ser_hf.utils.run_folder import RunFolder


@pytest.fixture
def run(tmp_path):
    values = {
        "name": "reference",
        "output_dir": str(tmp_path),
        "corpus": {"name": "synthetic", "speakers": 6, "takes": 1},
        "protocol": {"validation": 0.3, "test": 0.3, "near_duplicates": "skip"},
        "audio": {"level": "peak", "trim_silence": 40},
        "model": TINY_CRNN,
    }
    recipe = read_recipe(values)
    data = load_experiment_data(recipe)
    return RunContext(recipe, data, data.folds, RunFolder(recipe.output_dir))


def test_the_reference_has_unprepared_test_clips_and_their_logits(run):
    torch.manual_seed(0)
    model = build_model(run.data.plan).eval()
    save_reference(run, model)
    clips, logits = read_reference(run.folder.path)

    assert len(clips) == len(logits) >= 2
    assert logits.shape[1] == len(run.data.labels)
    rate = run.data.store.sampling_rate
    assert max(map(len, clips)) <= LONGEST * rate
    # A clip as recorded is longer than the one without silence at its ends, and not as loud.
    lengths = {run.data.store.source_lengths[row] for row in evaluated_rows(run)}
    assert {min(len(clip), round(LONGEST * rate)) for clip in clips} <= {
        min(length, round(LONGEST * rate)) for length in lengths
    }

    extractor = run.data.plan.published_extractor
    with torch.no_grad():
        for clip, expected in zip(clips, logits, strict=True):
            inputs = extractor(np.array(clip), sampling_rate=rate, return_tensors="pt")
            assert_near(model(**inputs).logits[0].numpy(), expected)
