"""The folder of a report."""

import json

import matplotlib.image
import pytest
from support.reports import CLIPS, over_folds, typed, whole_report

from ser_hf.report.report import HardClip
from ser_hf.report.write import figures, metrics_table, players, write_report


def _refuse(word):
    raise AssertionError(f"{word} is no JSON")


@pytest.mark.slow  # draws every picture there is
def test_the_folder_contains_numbers_pictures_and_the_page(tmp_path, rendered, monkeypatch):
    with rendered():
        # The same drawings once more as SVG, which tests/test_report_in_browser.py opens.
        monkeypatch.setattr("ser_hf.report.plots.svg", lambda _: b"a picture")
        write_report(tmp_path, typed(whole_report()), recipe="name: toy\n")
    pictures = ("class_distribution", "confusion_matrix", "confusion_by_corpus", "per_class", "slices", "robustness")
    pictures = (*pictures, "training_curves", "reliability")
    numbers = {"report.json", "report_schema.json", "metrics.parquet", "index.html"}
    drawn = {f"{name}.{kind}" for name in pictures for kind in ("png", "svg")}
    assert {path.name for path in tmp_path.iterdir()} == numbers | drawn
    content = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"), parse_constant=_refuse)
    assert (tmp_path / content["$schema"]).is_file()
    assert set(content["definitions"]) >= set(content["metrics"])
    for path in tmp_path.glob("*.png"):
        assert matplotlib.image.imread(path)[..., :3].std() > 0.02, f"{path.name} is blank"


def test_a_score_that_is_not_finite_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="seconds.training: Input should be a finite number"):
        write_report(tmp_path, typed(whole_report(seconds={"training": float("nan")})))
    assert not (tmp_path / "report.json").exists()


@pytest.fixture
def named(rendered):
    def draw(report):
        with rendered():
            return {name: figure for _, name, _, figure in figures(typed(report))}

    return draw


@pytest.mark.parametrize(
    ("changes", "people"),
    [
        ({}, "the test speakers"),
        ({"judged_on": "validation"}, "the validation speakers"),
        ({"protocol": {"leak": "Speaker-dependent: ..."}}, "test clips of training speakers"),
    ],
)
def test_the_title_names_the_evaluated_speakers(changes, people, named):
    report = whole_report(**changes)
    title = named(report)["confusion_matrix"].axes[0].get_title()
    assert title == f"toy: UAR {report['metrics']['uar']:.3f} on {people}"


def test_folds_and_corpora_have_pictures(named):
    report = over_folds(whole_report())
    drawn = named(report)
    assert "training_curves" not in drawn
    assert [bar.get_height() for bar in drawn["folds"].axes[0].patches] == [report["metrics"]["uar"]] * 2
    titles = [axes.get_title() for axes in drawn["confusion_by_corpus"].axes]
    assert titles == ["a (24 predictions)", "b (24 predictions)", ""]


def test_players_have_addresses_relative_to_the_page(tmp_path):
    recording = tmp_path / "my corpus" / "a#1 50%.wav"
    recording.parent.mkdir()
    recording.touch()
    clips = [{"id": "there", "path": str(recording)}, {"id": "gone", "path": "gone.wav"}, {"id": "none", "path": None}]
    assert players(
        [HardClip(label="a", predicted="b", probability=0.0, **clip) for clip in clips], tmp_path / "run" / "report"
    ) == {"there": "../../my%20corpus/a%231%2050%25.wav"}


def test_the_table_of_metrics_has_every_score_once():
    report = over_folds(whole_report())
    rows = metrics_table(typed(report)).to_pylist()
    keys = [(row["of"], row["name"], row["metric"]) for row in rows]
    assert len(set(keys)) == len(keys)
    found = dict(zip(keys, rows, strict=True))
    evaluated = found["judged", "test", "uar"]
    assert (evaluated["value"], evaluated["clips"]) == (report["metrics"]["uar"], CLIPS)
    assert [evaluated["low"], evaluated["high"]] == report["intervals"]["uar"]
    recall = report["per_class"]["sad"]
    assert found["class", "sad", "recall"]["value"] == recall["recall"]
    assert found["class", "sad", "recall"]["low"] == recall["recall_interval"][0]
    assert found["class", "sad", "precision"]["low"] is None
    assert found["speaker", "a:0", "uar"]["high"] == report["slices"]["speaker"]["a:0"]["interval"][1]
    assert found["fold", "2", "wa"]["clips"] == CLIPS
    assert found["condition", "noise at 10 dB", "drop"]["high"] == 0.3
    assert found["foil", "random", "uar"]["value"] == report["foil"]["metrics"]["uar"]
