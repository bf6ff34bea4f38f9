"""The report's sections about protocol, foil and model."""

import pytest
from support.reports import typed, whole_report
from support.testing import write_corpus

from ser_hf.experiment.context import RunContext
from ser_hf.experiment.data import load_experiment_data
from ser_hf.experiment.reading import read_recipe
from ser_hf.experiment.sections import (
    environment_section,
    extended,
    foil_section,
    merged_notes,
    model_section,
    protocol_section,
    report_header,
)
from ser_hf.utils.environment import package_versions, usable_cores
from ser_hf.utils.run_folder import RunFolder

RECIPE = {
    "name": "sections",
    "corpus": {"name": "synthetic", "speakers": 6, "takes": 1},
    "protocol": {"name": "kfold", "k": 2, "validation": 0.3, "near_duplicates": "skip"},
    "audio": {"trim_silence": 30, "level": "peak"},
    "model": {"architecture": "mfcc_mlp"},
}


@pytest.fixture(scope="module")
def run():
    recipe = read_recipe(RECIPE)
    data = load_experiment_data(recipe)
    return RunContext(recipe, data, data.folds, RunFolder(recipe.output_dir))


def test_the_environment_names_versions_cores_and_processes(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    environment = environment_section()
    assert environment.versions == package_versions()
    assert environment.cores == usable_cores()
    assert environment.processes == 3


def test_over_folds_the_header_describes_the_evaluated_split_of_each(run):
    header = report_header(run)
    assert list(header.class_distribution) == ["fold 1", "fold 2"]
    clips = sum(sum(counts.values()) for counts in header.class_distribution.values())
    assert header.protocol.parts["test"].clips == clips
    assert set(header.protocol.folds) == {"1", "2"}
    assert header.protocol.inherited is None


def test_of_one_fold_the_header_describes_all_splits(run):
    header = report_header(run.on_fold(run.folds[0]))
    assert set(header.class_distribution) == {"train", "validation", "test"}
    assert set(header.protocol.parts) == {"train", "validation", "test"}
    assert "folds" not in header.protocol.to_dict()


def test_inherited_speakers_are_in_the_protocol(run):
    section = protocol_section(run.folds, "test", inherited=["toy:a"])
    assert section.inherited == ["toy:a"]


def test_the_model_section_has_the_preparation_in_words(run):
    section = model_section(run.recipe, run.data.plan)
    assert section.preparation.startswith("silence trimmed at 30 dB")
    assert "peak normalized" in section.preparation
    assert section.depth == ""
    assert section.base_model is None


@pytest.mark.parametrize(
    ("notes", "merged"),
    [
        ({1: ["a"], 2: ["a"]}, ["a"]),
        ({1: ["a", "b"], 2: ["b"], 3: ["a", "b"]}, ["Fold 1, 3: a", "b"]),
        ({1: ["a", "a"], 2: []}, ["Fold 1: a"]),
    ],
)
def test_a_note_of_all_folds_appears_once(notes, merged):
    assert merged_notes("fold", notes) == merged


def test_the_gap_of_a_foil_leaves_out_undefined_metrics():
    foil = typed(whole_report())
    assert foil_section({"uar": 0.5}, None) is None
    section = foil_section({"uar": 0.5, "unknown": 0.5, "wa": None}, foil)
    assert section.gap == {"uar": foil.metrics["uar"] - 0.5}


def test_an_extended_report_keeps_the_other_sections():
    report = typed(whole_report())
    changed = extended(report, warnings=["new"])
    assert changed.warnings == ["new"]
    assert changed.metrics == report.metrics
    assert changed.to_dict().keys() == report.to_dict().keys() | {"warnings"}


def savee_header(folder, **corpus):
    write_corpus("savee", folder, speakers=4, takes=1)
    values = RECIPE | {
        "corpus": {"name": "savee", "root": str(folder), **corpus},
        "protocol": {"name": "leave_one_speaker_out"},
    }
    recipe = read_recipe(values)
    data = load_experiment_data(recipe)
    return report_header(RunContext(recipe, data, data.folds, RunFolder(recipe.output_dir)))


def test_figures_published_under_the_same_folds_are_quoted_whatever_the_protocols_name(tmp_path):
    published = savee_header(tmp_path / "savee").protocol.published
    assert published.protocol == "emobox/savee"
    scores = {figure.system: figure.metrics["uar"] for figure in published.figures}
    assert scores["wav2vec2-base, frozen"] == pytest.approx(0.4489)


def test_figures_of_other_numbers_of_emotions_are_not_quoted(tmp_path):
    assert savee_header(tmp_path / "savee", drop=["surprise"]).protocol.published is None
