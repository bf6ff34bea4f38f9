"""Freezing, and the tables of what learns."""

import pytest
import transformers

from ser_hf.errors import UserError
from ser_hf.training.build import blueprint, build_model
from ser_hf.training.layers import freeze, trainable_table
from ser_hf.training.optimizer import parameter_groups


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


def test_with_groups_the_table_gives_rates_and_what_is_frozen(encoder):
    freeze(encoder, feature_encoder=True)
    groups = parameter_groups(encoder, 2e-5, 0.01, head_learning_rate=1e-3)
    header, *lines = trainable_table(encoder, groups).replace(",", "").splitlines()
    assert header.split() == ["group", "parameters", "learning", "rate", "weight", "decay", "decayed"]
    rows = {line.split()[0]: line.split()[1:] for line in lines}
    assert list(rows) == ["encoder", "head", "frozen", "total"]
    head = [p for name, p in encoder.named_parameters() if not name.startswith("wav2vec2.")]
    sizes = [sum(p.numel() for p in head), sum(p.numel() for p in head if p.ndim > 1)]
    assert rows["head"] == [str(sizes[0]), "0.001", "0.01", str(sizes[1])]
    assert rows["encoder"][1:3] == ["2e-05", "0.01"]
    frozen = sum(p.numel() for p in encoder.wav2vec2.feature_extractor.parameters())
    assert rows["frozen"] == [str(frozen)]
    assert int(rows["total"][0]) == sum(int(rows[name][0]) for name in ("encoder", "head", "frozen"))
    assert int(rows["total"][0]) == sum(p.numel() for p in encoder.parameters())


def test_the_table_has_no_line_for_nothing_frozen(crnn):
    lines = trainable_table(crnn, parameter_groups(crnn, 1e-3, 0.0)).splitlines()
    assert [line.split()[0] for line in lines] == ["group", "model", "total"]
    assert lines[1].split()[-2:] == ["0", "0"]
