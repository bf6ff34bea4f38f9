"""Freezing, the table of what learns, and learning rates per part."""

import pytest
import transformers

from ser_hf.errors import UserError
from ser_hf.training.arguments import HOUSE_DEFAULTS, training_arguments
from ser_hf.training.build import blueprint, build_model
from ser_hf.training.layers import freeze, head_parameter_groups, trainable_table


@pytest.fixture
def encoder(checkpoint, labels):
    transformers.set_seed(0)
    return build_model(blueprint("encoder", labels, checkpoint=checkpoint()))


@pytest.fixture
def crnn(labels):
    return build_model(blueprint("crnn", labels, options={"channels": [4], "time_pooling": [2], "band_pooling": [2]}))


def _learning(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_freezing_the_feature_encoder_stops_its_convolutions_and_nothing_else(encoder):
    before = _learning(encoder)
    freeze(encoder)
    assert _learning(encoder) == before
    freeze(encoder, feature_encoder=True)
    stopped = before - _learning(encoder)
    assert stopped == {name for name in before if ".feature_extractor." in name}
    assert stopped


def test_a_network_without_a_feature_encoder_is_told(crnn):
    with pytest.raises(UserError, match=r"freeze\.feature_encoder: CRNNForAudioClassification has no"):
        freeze(crnn, feature_encoder=True)


def test_the_table_counts_all_and_trained(encoder):
    freeze(encoder, feature_encoder=True)
    rows = {line.split()[0]: line.split()[1:] for line in trainable_table(encoder).replace(",", "").splitlines()}
    counts = {name: (p.numel(), p.requires_grad) for name, p in encoder.named_parameters()}
    assert rows["total"] == [
        str(sum(size for size, _ in counts.values())),
        str(sum(size for size, learns in counts.values() if learns)),
    ]
    assert rows["classifier"][0] == rows["classifier"][1]
    assert int(rows["wav2vec2"][1]) < int(rows["wav2vec2"][0])


def test_head_and_encoder_get_their_own_rates_and_only_matrices_decay(encoder, tmp_path):
    freeze(encoder, feature_encoder=True)
    arguments = training_arguments(HOUSE_DEFAULTS | {"learning_rate": 1e-5, "weight_decay": 0.1}, tmp_path, 0)
    optimizer_class, settings = head_parameter_groups(encoder, arguments, 1e-3)
    names = {id(parameter): name for name, parameter in encoder.named_parameters()}
    seen = {}
    for group in optimizer_class(**settings).param_groups:
        for parameter in group["params"]:
            seen[names[id(parameter)]] = (group["lr"], group["weight_decay"])
    assert set(seen) == _learning(encoder)
    assert sum(len(group["params"]) for group in settings["params"]) == len(seen)
    assert seen["classifier.weight"] == (1e-3, 0.1)
    assert seen["projector.bias"] == (1e-3, 0.0)
    assert seen["wav2vec2.encoder.layers.0.attention.q_proj.weight"] == (1e-5, 0.1)
    assert seen["wav2vec2.encoder.layers.0.attention.q_proj.bias"] == (1e-5, 0.0)
    assert seen["wav2vec2.encoder.layers.0.layer_norm.weight"] == (1e-5, 0.0)


def test_a_network_without_an_encoder_has_no_head_rate(crnn, tmp_path):
    with pytest.raises(UserError, match=r"training\.head_learning_rate: CRNNForAudioClassification has no encoder"):
        head_parameter_groups(crnn, training_arguments(HOUSE_DEFAULTS, tmp_path, 0), 1e-3)
