"""The folder of a report."""

import json

import matplotlib.image
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.reports import over_folds, typed, whole_report

from ser_hf.evaluation.sections import HardClip
from ser_hf.report.write import figures, players, write_report


def _refuse(word):
    raise AssertionError(f"{word} is no JSON")


@pytest.mark.slow  # draws every picture there is
def test_the_folder_contains_numbers_pictures_and_the_page(tmp_path, rendered, monkeypatch):
    with rendered():
        # The same drawings once more as SVG, which tests/test_report_in_browser.py opens.
        monkeypatch.setattr("ser_hf.report.plots.svg", lambda _: b"a picture")
        write_report(tmp_path, typed(whole_report()), recipe="name: toy\n")
    pictures = (
        "class_distribution",
        "confusion_matrix",
        "confusion_by_corpus",
        "per_class",
        "slices",
        "robustness",
    )
    pictures = (*pictures, "training_curves", "reliability", "risk_coverage", "learning_curve")
    numbers = {"report.json", "report_schema.json", "index.html"}
    drawn = {f"{name}.{kind}" for name in pictures for kind in ("png", "svg")}
    assert {path.name for path in tmp_path.iterdir()} == numbers | drawn
    content = json.loads(
        (tmp_path / "report.json").read_text(encoding="utf-8"), parse_constant=_refuse
    )
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
            return {figure.name: figure.drawing for figure in figures(typed(report))}

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
    expected = f"toy: UAR {report['metrics']['uar']:.3f} on {people}"
    assert title.replace("\n", " ") == expected  # a long title has several lines


def map_table(report, **columns):
    """A table of the map of a report with three clips for each label."""
    labels = report["labels"] * 3
    values = {
        "id": [str(i) for i in range(len(labels))],
        "speaker": ["a", "b", None] * 3,
        "label": labels,
        "predicted": labels[::-1],
        "x": np.arange(len(labels), dtype=np.float32),
        "y": np.ones(len(labels), dtype=np.float32),
    }
    return pa.table(values | columns)


def map_figures(report, table, folder, rendered):
    """The figures of the map of embeddings of a report, by name."""
    path = folder / "embeddings.parquet"
    pq.write_table(table, path)
    with rendered():
        drawn = list(figures(typed(report), embeddings=path))
    return {figure.name: figure for figure in drawn if figure.section == "embeddings"}


def test_a_map_is_drawn_by_emotion_and_by_speaker(tmp_path, rendered):
    report = whole_report()
    drawn = map_figures(report, map_table(report), tmp_path, rendered)
    assert list(drawn) == ["embeddings_by_emotion", "embeddings_by_speaker"]
    assert "PCA of the embeddings of 48 clips" in drawn["embeddings_by_emotion"].text
    assert "Silhouette of emotions: 0.125." in drawn["embeddings_by_emotion"].text
    assert "Silhouette of speakers: 0.250." in drawn["embeddings_by_speaker"].text


def test_a_map_of_one_speaker_is_drawn_by_emotion_only(tmp_path, rendered):
    report = whole_report()
    table = map_table(report, speaker=["a", None, "a"] * 3)
    assert list(map_figures(report, table, tmp_path, rendered)) == ["embeddings_by_emotion"]


def test_corpora_have_pictures(named):
    drawn = named(over_folds(whole_report()))
    assert "training_curves" not in drawn
    titles = [axes.get_title() for axes in drawn["confusion_by_corpus"].axes]
    assert titles == ["a (24 predictions)", "b (24 predictions)", ""]


def test_players_have_addresses_relative_to_the_page(tmp_path):
    recording = tmp_path / "my corpus" / "a#1 50%.wav"
    recording.parent.mkdir()
    recording.touch()
    clips = [
        {"id": "there", "path": str(recording)},
        {"id": "gone", "path": "gone.wav"},
        {"id": "none", "path": None},
    ]
    assert players(
        [HardClip(label="a", predicted="b", probability=0.0, **clip) for clip in clips],
        tmp_path / "run" / "report",
    ) == {"there": "../../my%20corpus/a%231%2050%25.wav"}
