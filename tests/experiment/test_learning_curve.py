"""The learning curve of a run: nested draws, trainings that continue, and the verdict."""

import numpy as np
import pytest

import ser_hf
from ser_hf.evaluation.sections import CurvePoint
from ser_hf.experiment.learning_curve import _reduced_rows, verdict
from ser_hf.utils.errors import UserError

RECIPE = {
    "name": "curve",
    "corpus": {"name": "synthetic", "speakers": 10, "takes": 2},
    "protocol": {"validation": 0.2, "test": 0.2, "near_duplicates": "skip"},
    "model": {"architecture": "mfcc_linear"},
    "training": {"grid": {"C": [1.0]}},
    "evaluation": {"bootstrap": 20, "map": None, "learning_curve": True},
}


def point(mean, *scores):
    return CurvePoint(speakers=4, clips=40, scores=list(scores) or [mean], mean=mean)


@pytest.mark.parametrize(
    ("speakers", "clips", "words"),
    [
        ((0.4, 0.6), (0.58, 0.6), "more speakers would help more"),
        ((0.58, 0.6), (0.4, 0.6), "more clips would help more"),
        ((0.4, 0.6), (0.4, 0.6), "about equally"),
        ((0.6, 0.6), (0.6, 0.59), "the noise of the draws"),
        ((0.6,), (0.6,), "Too few"),
    ],
)
def test_the_last_doubling_decides(speakers, clips, words):
    assert words in verdict([point(mean) for mean in speakers], [point(mean) for mean in clips])


def test_differences_within_the_noise_are_no_gain():
    noisy = [point(0.5, 0.3, 0.7), point(0.55)]
    assert "the noise of the draws, 0.200" in verdict(noisy, noisy)


@pytest.mark.parametrize("reduced", ["speakers", "clips"])
def test_draws_are_nested(reduced):
    speakers = [f"toy:{number // 12}" for number in range(96)]
    labels = np.arange(96) % 3
    rows = list(range(96))
    quarter, half = (
        _reduced_rows(rows, reduced=reduced, share=share, speakers=speakers, labels=labels, seed=1)
        for share in (0.25, 0.5)
    )
    assert set(quarter) < set(half) < set(rows)
    assert len(quarter) == 24
    assert len({speakers[row] for row in quarter}) == (2 if reduced == "speakers" else 8)


@pytest.fixture(scope="module")
def curved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "curve"
    return ser_hf.run_recipe(RECIPE, [f"output_dir={folder}"]), folder


@pytest.mark.slow
def test_a_report_has_the_curve_and_its_picture(curved):
    report, folder = curved
    curve = report.learning_curve
    assert [point.speakers for point in curve.speakers] == [2, 3, 6]
    assert {point.speakers for point in curve.clips} == {6}
    assert [len(point.scores) for point in curve.speakers] == [2, 2, 1]
    page = (folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "What to expect from a new speaker" in page
    assert curve.verdict in page.replace("&#43;", "+")
    assert (folder / "report" / "learning_curve.png").is_file()


def test_an_interrupted_curve_continues(curved):
    report, folder = curved
    (folder / "report" / "report.json").unlink()
    times = {path: path.stat().st_mtime_ns for path in folder.glob("curve-*/report/report.json")}
    assert len(times) == 9
    again = ser_hf.run_recipe(RECIPE, [f"output_dir={folder}"], resume=True)
    assert again.learning_curve == report.learning_curve
    assert times == {path: path.stat().st_mtime_ns for path in times}


def test_a_curve_needs_four_training_speakers(tmp_path):
    changes = ["corpus.speakers=5", f"output_dir={tmp_path / 'few'}"]
    with pytest.raises(UserError, match=r"^evaluation\.learning_curve: needs four"):
        ser_hf.run_recipe(RECIPE, changes)
