"""The clips of a run: windows, crops, rows for training, and recordings before preparation."""

import pytest
from support.recipes import TINY_CRNN

from ser_hf.experiment.clips import (
    evaluation_clips,
    is_resampled,
    longest_window,
    train_clips,
    train_labels,
    train_rows,
    unprepared_clips,
    window_notes,
)
from ser_hf.experiment.context import RunContext
from ser_hf.experiment.data import load_experiment_data
from ser_hf.experiment.reading import read_recipe
from ser_hf.utils.run_folder import RunFolder

RECIPE = {
    "name": "clips",
    "corpus": {"name": "synthetic", "speakers": 6, "takes": 1},
    "protocol": {"validation": 0.3, "test": 0.3, "near_duplicates": "skip"},
    "model": TINY_CRNN,
}
LINEAR = {"model": {"architecture": "mfcc_linear"}, "training": {"solver": "sklearn"}}


def context(*overrides, **sections):
    recipe = read_recipe(RECIPE | sections, overrides)
    data = load_experiment_data(recipe)
    return RunContext(recipe, data, data.folds, RunFolder(recipe.output_dir))


def test_whole_clips_are_evaluated_once_without_a_window():
    run = context()
    assert longest_window(run) is None
    assert window_notes(run) == []
    clips = evaluation_clips(run, "test")
    assert sorted(clips["row"][:]) == run.fold.split.rows["test"]


def test_a_window_divides_long_clips_and_is_noted():
    run = context("evaluation.window=0.5")
    window = longest_window(run)
    assert window == 0.5 * run.data.store.sampling_rate
    clips = evaluation_clips(run, "test")
    assert max(clips["length"][:]) <= window
    assert len(clips) > len(set(clips["row"][:]))
    assert any("evaluation.window" in note for note in window_notes(run))


def test_training_clips_are_cropped_to_the_longest_duration():
    run = context("audio.max_duration=0.5")
    clips = train_clips(run)
    assert max(clips["length"][:]) == 0.5 * run.data.store.sampling_rate
    labels = run.data.dataset["label"][:]
    assert train_labels(run, clips) == [labels[row] for row in run.fold.split.rows["train"]]


@pytest.mark.parametrize(
    ("part", "parts"), [("test", ["train", "validation"]), ("validation", ["train"])]
)
def test_scikit_learn_trains_on_the_validation_split_unless_it_is_evaluated(part, parts):
    run = context(f"evaluation.part={part}", **LINEAR)
    rows = [row for name in parts for row in run.fold.split.rows[name]]
    assert train_rows(run) == rows


def test_a_balance_resamples_the_training_clips():
    assert not is_resampled(context())
    assert is_resampled(context("training.balance=class"))


def test_recordings_are_those_before_the_preparation():
    run = context("audio.fixed_duration=5")
    rows = run.fold.split.rows["test"][:2]
    recordings = unprepared_clips(run, rows)
    for position, row in enumerate(rows):
        assert len(run.data.store[row]) == 5 * run.data.store.sampling_rate
        assert len(recordings[position]) == run.data.store.source_lengths[row]
