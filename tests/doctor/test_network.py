"""What is trained, and whether padding changes the outputs, with planted faults."""

import pytest
from support.doctor import case_of, faults

from ser_hf.doctor.network import check_padding, check_parameters
from ser_hf.models.modeling_crnn import CRNNForAudioClassification


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return case_of(tmp_path_factory.mktemp("case"))


def test_trained_parameters_are_counted_with_their_rates(case):
    outcome = check_parameters(case)
    assert faults(outcome) == []
    assert outcome.values["trained"] == outcome.values["total"] > 0
    assert outcome.values["groups"]["model"]["learning_rate"] == 0.01


def test_parts_of_an_encoder_have_their_rates(tmp_path, encoder_folder):
    model = {"architecture": "encoder", "checkpoint": str(encoder_folder("wavlm"))}
    training = {"learning_rate": 1e-4, "head_learning_rate": 1e-3}
    case = case_of(tmp_path, "freeze.feature_encoder=true", model=model, training=training)
    groups = check_parameters(case).values["groups"]
    assert groups["encoder"]["learning_rate"] == 1e-4
    assert groups["head"]["learning_rate"] == 1e-3
    outcome = check_parameters(case)
    assert outcome.values["trained"] < outcome.values["total"]


def test_a_network_of_frozen_parameters_is_named(case, monkeypatch):
    def build(self, config):
        original(self, config)
        self.requires_grad_(False)

    original = CRNNForAudioClassification.__init__
    monkeypatch.setattr(CRNNForAudioClassification, "__init__", build)
    outcome = check_parameters(case)
    assert faults(outcome) == ["all-frozen"]
    assert "freeze.layers" in outcome.problems[0].remedy


def test_padding_does_not_change_a_network_that_masks_it(case):
    outcome = check_padding(case)
    assert faults(outcome) == []
    assert outcome.values["difference"] < 1e-5


def test_a_network_that_ignores_the_mask_is_named(case, monkeypatch):
    def forward(self, input_values, attention_mask=None, **further):
        return original(self, input_values, None, **further)

    original = CRNNForAudioClassification.forward
    monkeypatch.setattr(CRNNForAudioClassification, "forward", forward)
    outcome = check_padding(case)
    assert faults(outcome) == ["padding-changes-logits"]
    assert "attention_mask" in outcome.problems[0].remedy


def test_clips_of_one_length_are_never_padded(tmp_path):
    assert check_padding(case_of(tmp_path, "audio.fixed_duration=1.5")).is_left_out


def test_the_inputs_of_a_classifier_of_scikit_learn_are_compared(tmp_path):
    case = case_of(tmp_path, model={"architecture": "mfcc_svm"}, training={})
    assert faults(check_padding(case)) == []
    assert check_parameters(case).is_left_out
