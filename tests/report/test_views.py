"""Sentences of the report about the calibration of dimensions."""

from types import SimpleNamespace

from ser_hf.evaluation.sections import RatingCalibration
from ser_hf.report.views import rating_scale


def calibration(slope, offset):
    return RatingCalibration(
        slope=slope,
        offset=offset,
        ccc_before=0.5,
        ccc_after=0.6,
        outside_before=0.2,
        outside_after=0.01,
    )


def sentence(**calibrations):
    return rating_scale(SimpleNamespace(rating_scale=calibrations, evaluated_split="test"))


def test_no_calibration_has_no_sentence():
    assert sentence() is None


def test_the_effect_of_a_map():
    text = sentence(arousal=calibration(0.5, 0.1))
    assert "of arousal the CCC from 0.500 to 0.600" in text
    assert "from 20.0% to 1.0%" in text


def test_dimensions_without_a_map_are_named():
    text = sentence(arousal=calibration(0.5, 0.1), valence=calibration(1.0, 0.0))
    assert "of arousal the CCC" in text
    assert "of valence" not in text
    assert "Valence keeps the outputs of the network" in text
    both = sentence(arousal=calibration(1.0, 0.0), valence=calibration(1.0, 0.0))
    assert both.startswith("Arousal and valence keep ")
