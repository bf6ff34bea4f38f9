"""Run folders: their files, the keys of their reports, and a finished run that is read, evaluated
and reproduced.
"""

import json

import golden
import pyarrow.parquet as pq
import pytest
from entry_points import command, resolved

import ser_hf

RUNS = golden.read("runs.json")


def assert_as_before(run, frozen):
    assert golden.files_of(run) == frozen["files"]
    assert frozen["columns"].items() <= golden.columns_of(run).items()
    for place, files in frozen["keys"].items():
        for file, keys in files.items():
            assert golden.changed_keys(keys, golden.key_types(run / place / file)) == {}, (
                f"{place}/{file}"
            )


@pytest.mark.parametrize("name", ["seeds", "lora"])
def test_a_run_leaves_the_same_files_and_keys(name, tmp_path):
    recipe = golden.run_recipes()[name]
    if name == "lora":
        recipe["model"]["checkpoint"] = str(golden.unpacked() / "checkpoints" / "wav2vec2")
    ser_hf.run_recipe(recipe, [f"output_dir={tmp_path / name}"])
    assert_as_before(tmp_path / name, RUNS[name])


@pytest.mark.parametrize("name", ["single", "folds"])
def test_a_saved_run_is_reproduced(name, tmp_path):
    """By the command: the same files, keys, split and recipe; what scikit-learn fits also gives the
    same figures on other processors, where a training by gradient has only its first loss in
    common."""
    tolerance = golden.FIGURES if name == "folds" or golden.EXACT else 1.0
    source = golden.unpacked() / "runs" / name
    run = tmp_path / name
    assert command("reproduce", source, "--output", run, "--tolerance", tolerance) == 0
    comparison = json.loads((run / "report" / "reproduction.json").read_text())
    (run / "report" / "reproduction.json").unlink()
    assert_as_before(run, RUNS[name])
    assert comparison["protocol"]["sha256"]["equal"]
    assert comparison["recipe"] == {}, "the recipe reads as it did"
    assert comparison["missing"] == [], "everything is measured that was measured"
    for row in comparison["figures"]:
        if row["metric"] in ("uar", "macro_f1", "wa"):
            assert row["now"] == pytest.approx(row["saved"], abs=tolerance + 1e-12), row
    for saved, now in zip(history(source), history(run), strict=True):
        assert now["train_loss"] == pytest.approx(
            saved["train_loss"], rel=1e-6 if golden.EXACT else 0.1
        )
        if not golden.EXACT:
            break


def history(run):
    return json.loads((run / "report" / "report.json").read_text())["history"]


def test_a_saved_run_is_evaluated_as_it_was(tmp_path):
    run = golden.unpacked() / "runs" / "single"
    frozen = golden.read("evaluation.json")
    assert (
        command("evaluate", run, "--recipe", run, "--output", tmp_path / "out", "--device", "cpu")
        == 0
    )
    assert golden.files_of(tmp_path / "out") == frozen["files"]
    assert (
        golden.changed_keys(frozen["keys"], golden.key_types(tmp_path / "out" / "report.json"))
        == {}
    )
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    for name in ("uar", "wa", "macro_f1"):
        assert report["metrics"][name] == pytest.approx(
            frozen["metrics"][name], abs=golden.FIGURES + 1e-12
        )
    saved = _probabilities(run / "report" / "predictions.parquet")
    now = _probabilities(tmp_path / "out" / "predictions.parquet")
    assert now
    for clip, values in now.items():
        assert values == pytest.approx(saved[clip], abs=golden.PROBABILITIES)


def _probabilities(table):
    rows = pq.read_table(table).to_pylist()
    return {
        row["id"]: [value for key, value in row.items() if key.startswith("p_")] for row in rows
    }


# They were null and half an hour.
CHANGED_DEFAULTS = ("audio.level", "training.ddp_timeout")


@pytest.mark.parametrize("kind", golden.read("recipes.json.xz"))
def test_a_recipe_has_the_same_keys_and_defaults(kind):
    """New keys may be added. A saved recipe is read back equal."""
    recipe = golden.read("recipes.json.xz")[kind]
    now = resolved(recipe["given"])
    assert_within(recipe["resolved"], now)
    for key in CHANGED_DEFAULTS:
        section, _, name = key.partition(".")
        now[section][name] = recipe["resolved"][section][name]
    assert resolved(recipe["resolved"]) == now


def assert_within(frozen, now, place=""):
    for key, value in frozen.items():
        if f"{place}{key}" in CHANGED_DEFAULTS:
            continue
        assert key in now, f"{place}{key} is lost"
        if isinstance(value, dict):
            assert_within(value, now[key], f"{place}{key}.")
        else:
            assert now[key] == value, f"{place}{key}"


@pytest.mark.parametrize("name", RUNS)
def test_the_saved_recipe_of_a_run_reads_as_itself(name):
    path = golden.unpacked() / "runs" / name / "recipe.yaml"
    again = resolved(path)
    assert resolved(again) == again
    assert_within(resolved(golden.run_recipes()[name]), again)
