"""VGG16 and VGGish with their published weights compute what the published networks do."""

import torch
from safetensors.torch import save_file
from support.testing import tiny_config
from torch.nn import functional

from ser_hf.loading.published import PUBLISHED, load_published
from ser_hf.models import TRANSFERRED


def _model(name, **settings):
    torch.manual_seed(0)
    return TRANSFERRED[name](tiny_config(name, **settings)).eval()


def _file(folder, name, model):
    """The published file of a network as small as `model`, with random numbers, and its content."""
    generator = torch.Generator().manual_seed(1)
    state = model.state_dict()
    tensors = {}
    for key, ours in PUBLISHED[f"ser_{name}"].tensors.items():
        shape = state[ours].shape if ours else (1,)
        if key == "features.0.weight" and name == "vgg16":
            shape = (shape[0], 3, *shape[2:])  # colors
        tensors[key] = torch.randn(shape, generator=generator)
    path = folder / "weights.safetensors"
    save_file(tensors, path)
    return path, tensors


@torch.no_grad()
def test_three_planes_are_a_color_each(tmp_path):
    model = _model("vgg16", deltas=2)
    path, tensors = _file(tmp_path, "vgg16", model)
    load_published(model, path)
    assert torch.equal(model.encoder.layers[0].convolutions[0].weight, tensors["features.0.weight"])


@torch.no_grad()
def test_vgg16_equals_the_published_stages(tmp_path):
    model = _model("vgg16")
    path, tensors = _file(tmp_path, "vgg16", model)
    load_published(model, path)
    features = 0.1 * torch.randn(1, 64, 32)
    picture = features[:, None].expand(-1, 3, -1, -1)
    for stage in ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)):
        for place in stage:
            weight = tensors[f"features.{place}.weight"]
            bias = tensors[f"features.{place}.bias"]
            picture = functional.relu(functional.conv2d(picture, weight, bias, padding=1))
        picture = functional.max_pool2d(picture, 2)
    frames, _ = model.encoder(features, torch.ones(1, 64, dtype=torch.bool))
    assert picture.abs().max() > 1
    torch.testing.assert_close(frames, picture.transpose(1, 2).flatten(2), rtol=1e-4, atol=1e-3)


@torch.no_grad()
def test_vggish_equals_the_port(tmp_path):
    model = _model("vggish")
    path, tensors = _file(tmp_path, "vggish", model)
    load_published(model, path)
    examples = torch.randn(1, 2, 96 * 64)
    picture = examples.view(2, 1, 96, 64)
    for stage in ((0,), (3,), (6, 8), (11, 13)):
        for place in stage:
            weight = tensors[f"features.{place}.weight"]
            bias = tensors[f"features.{place}.bias"]
            picture = functional.relu(functional.conv2d(picture, weight, bias, padding=1))
        picture = functional.max_pool2d(picture, 2)
    vectors = picture.transpose(1, 3).transpose(1, 2).flatten(1)
    for place in (0, 2, 4):
        weight = tensors[f"embeddings.{place}.weight"]
        bias = tensors[f"embeddings.{place}.bias"]
        vectors = functional.relu(functional.linear(vectors, weight, bias))
    embeddings, _ = model.encoder(examples, torch.ones(1, 2, dtype=torch.bool))
    assert vectors.std() > 1
    torch.testing.assert_close(
        embeddings[0], vectors, rtol=1e-4, atol=1e-3 * float(vectors.abs().max())
    )
