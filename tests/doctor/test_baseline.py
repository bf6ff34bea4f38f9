"""The classical baseline: above chance on right labels, at chance on shuffled ones."""

from support.doctor import case_of, faults

from ser_hf.doctor.baseline import baseline_run, check_baseline


def test_right_labels_are_predicted_above_chance(tmp_path):
    outcome = check_baseline(case_of(tmp_path))
    assert faults(outcome) == []
    assert outcome.values["uar"] > 1.5 * outcome.values["chance"]
    low, high = outcome.values["interval"]
    assert low <= outcome.values["uar"] <= high


def test_shuffled_labels_are_named(tmp_path):
    outcome = check_baseline(case_of(tmp_path, "corpus.shuffle_labels=true"))
    assert faults(outcome) == ["baseline-at-chance"]
    assert "listen" in outcome.problems[0].remedy


def test_the_baseline_has_the_clips_and_the_audio_of_the_recipe(tmp_path):
    case = case_of(tmp_path, "audio.trim_silence=40", "audio.level=peak", "audio.max_duration=1")
    run = baseline_run(case)
    assert run.fold.split.rows == case.run.fold.split.rows
    assert run.data.store.folder == case.data.store.folder
    assert run.recipe.model.architecture == "mfcc_linear"
    assert run.recipe.training.solver == "sklearn"
