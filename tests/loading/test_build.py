"""Models of a blueprint: random weights, unavailable attention, and the bias of a new head."""

import pytest
import torch
from support.testing import tiny_config

from ser_hf.loading.build import build_model, set_initial_bias
from ser_hf.loading.plan import blueprint
from ser_hf.models import ARCHITECTURES
from ser_hf.utils.errors import UserError


def test_random_weights_follow_the_seed(labels, checkpoint):
    plan = blueprint("encoder", labels, checkpoint=checkpoint(), random_init=True)
    torch.manual_seed(0)
    first = build_model(plan).state_dict()
    torch.manual_seed(0)
    again = build_model(plan).state_dict()
    other = build_model(plan).state_dict()
    name = next(name for name in first if name.endswith("q_proj.weight"))
    assert torch.equal(first[name], again[name])
    assert not torch.equal(first[name], other[name])


def test_an_unavailable_attention_names_its_key(labels, checkpoint):
    plan = blueprint("encoder", labels, checkpoint=checkpoint(), attention="nonsense")
    with pytest.raises(UserError, match=r"^model\.attention:"):
        build_model(plan)


def test_a_new_head_starts_at_the_mean_and_a_trained_one_stays():
    model = ARCHITECTURES["crnn"](tiny_config("crnn", labels=2, problem_type="regression"))
    set_initial_bias(model, [0.3, 0.7])
    torch.testing.assert_close(model.classifier.bias.data, torch.tensor([0.3, 0.7]))
    set_initial_bias(model, [0.1, 0.1])
    torch.testing.assert_close(model.classifier.bias.data, torch.tensor([0.3, 0.7]))
