"""Classical baselines by cases worked by hand: clip vectors, calibration, kernel, trees."""

import math

import librosa
import numpy as np
import pytest
import torch
from support.close import assert_near

from ser_hf.models import ARCHITECTURES
from ser_hf.models.layers import Calibration, KernelMachines
from ser_hf.models.modeling_mfcc import LEAST, Forest

NAMES = ["mfcc_linear", "mfcc_svm", "mfcc_rbf_svm", "mfcc_forest", "mfcc_mlp"]
TINY = {
    "n_fft": 512,
    "win_length": 400,
    "hop_length": 256,
    "n_mels": 16,
    "n_mfcc": 5,
    "deltas": 1,
    "num_labels": 3,
}


def network(name, **options):
    torch.manual_seed(0)
    kind = ARCHITECTURES[name]
    return kind(kind.config_class(**TINY | options)).eval()


def test_a_clip_is_the_statistics_of_its_cepstra_and_of_their_slopes():
    model = network("mfcc_linear", center=True, top_db=None, f_min=0.0, statistics=["mean", "std"])
    waveform = torch.randn(1, 8000) * 0.1
    with torch.no_grad():
        vector = model.embed(*model.front_end(waveform, torch.tensor([8000])))[0].numpy()
    mel = librosa.feature.melspectrogram(
        y=waveform[0].numpy(),
        sr=16000,
        n_fft=512,
        win_length=400,
        hop_length=256,
        n_mels=16,
        pad_mode="constant",
    )
    cepstra = librosa.feature.mfcc(S=librosa.power_to_db(mel, top_db=None), n_mfcc=5)
    both = np.concatenate([cepstra, librosa.feature.delta(cepstra, mode="nearest")])
    expected = np.concatenate([both.mean(axis=1), both.std(axis=1)])
    np.testing.assert_allclose(vector, expected, rtol=1e-3, atol=1e-3)


def test_calibrated_probabilities_are_the_sigmoids_divided_by_their_sum():
    calibration = Calibration(3)
    calibration.slope.copy_(torch.tensor([1.0, 2.0, 0.5]))
    calibration.offset.copy_(torch.tensor([0.0, -1.0, 3.0]))
    decisions = torch.tensor([[1.0, -0.5, 0.0]])
    sigmoids = [1 / (1 + math.exp(-value)) for value in (1.0, -2.0, 3.0)]
    expected = torch.tensor([[value / sum(sigmoids) for value in sigmoids]])
    assert_near(calibration(decisions).softmax(dim=1), expected)
    # scikit-learn's sigmoids would underflow to 0 / 0 here.
    assert torch.isfinite(calibration(torch.full((1, 3), -1e4))).all()


def test_a_class_without_a_leaf_has_a_finite_logit():
    forest = Forest(classes=2, trees=1, nodes=1, depth=0)
    forest.shares.copy_(torch.tensor([[1.0, 0.0]]))
    assert forest(torch.zeros(1, 1)).tolist() == [pytest.approx([0.0, math.log(LEAST)])]


@pytest.mark.parametrize("name", NAMES)
def test_a_fitted_model_is_loaded_with_its_shapes(name, tmp_path):
    model = network(name)
    if name == "mfcc_rbf_svm":
        model.config.support_vectors = 7
        model.classifier = KernelMachines(20, 3, 7)
        torch.nn.init.normal_(model.classifier.vectors, std=20.0)
        torch.nn.init.normal_(model.classifier.weight)
    elif name == "mfcc_forest":
        model.config.trees = 2
        model.config.nodes = 4
        model.config.depth = 3
        model.classifier = Forest(3, 2, 4, 3)
        model.classifier.roots[1] = 1
        torch.nn.init.uniform_(model.classifier.shares)
    model.save_pretrained(tmp_path)
    again = ARCHITECTURES[name].from_pretrained(tmp_path).eval()
    waveform = torch.randn(2, 9000)
    assert_near(again(waveform).logits, model(waveform).logits)
    # Fitted by scikit-learn, not by gradient; counted as the model's numbers all the same.
    by_gradient = {parameter.requires_grad for parameter in model.parameters()}
    assert by_gradient == {name in ("mfcc_linear", "mfcc_mlp")}
