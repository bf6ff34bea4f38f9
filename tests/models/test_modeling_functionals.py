"""openSMILE's functionals: of any clip, in the preparation, and as the input of the networks."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from built import probabilities_without_ser_hf
from signals import noise
from support.close import assert_near
from support.testing import tiny_config

from ser_hf.export.graph import WaveformClassifier
from ser_hf.models import ARCHITECTURES, PreparedFeatureExtractor
from ser_hf.models.preparation import (
    FUNCTIONALS,
    Preparation,
    compute_functionals,
    prepare_waveform,
)
from ser_hf.utils.errors import UserError

opensmile = pytest.importorskip("opensmile")
NAMES = ["functionals_linear", "functionals_svm"]
EXTRACTOR = PreparedFeatureExtractor(
    do_normalize=False, return_attention_mask=True, functionals="eGeMAPSv02"
)


def clip(samples, seed=0):
    return noise(samples, seed=seed)[0].numpy()


@pytest.mark.parametrize("feature_set", FUNCTIONALS)
def test_they_are_those_of_opensmile(feature_set):
    extractor = opensmile.Smile(
        opensmile.FeatureSet[feature_set], opensmile.FeatureLevel.Functionals
    )
    expected = extractor.process_signal(clip(16000), 16000).to_numpy()[0]
    np.testing.assert_array_equal(compute_functionals(clip(16000), 16000, feature_set), expected)
    assert len(expected) == FUNCTIONALS[feature_set]
    # The rate is the clip's own: the same samples at another rate are another clip.
    assert (compute_functionals(clip(16000), 48000, feature_set) != expected).mean() > 0.2


@pytest.mark.parametrize("samples", [0, 1, 700, 1600])
@pytest.mark.parametrize("rate", [8000, 16000])
def test_the_shortest_clips_have_finite_functionals_without_a_warning(samples, rate):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vector = compute_functionals(clip(samples), rate, "eGeMAPSv02")
    assert np.isfinite(vector).all()
    padded = np.pad(clip(samples), (0, max(0, rate // 10 - samples)))
    np.testing.assert_array_equal(vector, compute_functionals(padded, rate, "eGeMAPSv02"))


def test_what_is_not_finite_becomes_zero_and_samples_are_clipped_to_16_bits(monkeypatch):
    values = np.array([[[1.0], [np.nan], [np.inf], [-np.inf]]], np.float32)
    given = []
    smile = lambda samples, rate: given.append(samples) or values  # noqa: E731
    monkeypatch.setattr("ser_hf.models.preparation._smile", lambda name: smile)
    assert compute_functionals(40 * clip(1600), 16000, "eGeMAPSv02").tolist() == [1, 0, 0, 0]
    assert (given[0].min() * 2**15, given[0].max() * 2**15) == (-(2**15), 2**15 - 1)


def test_threads_compute_the_same_numbers_after_the_other_steps():
    clips = [clip(4000, seed) for seed in range(4)]
    both = Preparation(level="peak", functionals="eGeMAPSv02")
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda one: prepare_waveform(one, 16000, both), clips))
    leveled = [prepare_waveform(one, 16000, Preparation(level="peak")) for one in clips]
    np.testing.assert_array_equal(
        found, [compute_functionals(one, 16000, "eGeMAPSv02") for one in leveled]
    )


def test_an_unknown_feature_set_is_named():
    with pytest.raises(
        ValueError, match="functionals: 'GeMAPS' is not one of eGeMAPSv02, ComParE_2016 or null"
    ):
        Preparation(functionals="GeMAPS")


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """The folder of both networks, saved with their extractor, and the networks."""
    folder = tmp_path_factory.mktemp("functionals")
    models = {}
    for name in NAMES:
        torch.manual_seed(0)
        models[name] = ARCHITECTURES[name](tiny_config(name)).eval()
        vectors = np.stack(
            [
                EXTRACTOR(clip(8000, seed), sampling_rate=16000)["input_values"][0]
                for seed in range(8)
            ]
        )
        norm = models[name].front_end.standardize
        norm.mean.copy_(torch.from_numpy(vectors.mean(axis=0)))
        norm.deviation.copy_(torch.from_numpy(vectors.std(axis=0) + 1e-3))
        models[name].save_pretrained(folder / name)
        EXTRACTOR.save_pretrained(folder / name)
    return folder, models


@pytest.mark.slow
def test_the_pipeline_needs_no_ser_hf(networks):
    folder, models = networks
    clips = [clip(5000, seed=20), clip(16000, seed=21), clip(300, seed=22)]
    for name, found in probabilities_without_ser_hf(folder, clips, dict.fromkeys(NAMES, 3)).items():
        inputs = EXTRACTOR(clips, sampling_rate=16000, padding=True, return_tensors="pt")
        with torch.no_grad():
            expected = models[name](**inputs).logits.softmax(dim=1).numpy()
        assert np.ptp(expected) > 1e-4
        for each in found:
            assert_near(each, expected)


@pytest.mark.parametrize("name", NAMES)
def test_waveforms_in_place_of_functionals_and_an_export_are_refused(networks, name):
    model = networks[1][name]
    with pytest.raises(ValueError, match="expected 88 functionals per clip, got 16000"):
        model(noise(16000))
    with pytest.raises(
        UserError, match=f"ser_{name} cannot be exported: openSMILE computes its input"
    ):
        WaveformClassifier(model, EXTRACTOR)
