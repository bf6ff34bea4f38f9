"""The published files of VGG16 and VGGish into our networks: every tensor has its place, colours add up exactly."""

import pytest
import torch
from torch.nn import functional

from ser_hf.models import TRANSFERRED
from ser_hf.testing import tiny_config
from ser_hf.training.pretrained import load_published, published_vgg16, published_vggish

KNOWN = {"vgg16": published_vgg16, "vggish": published_vggish}
BOTH = pytest.mark.parametrize("name", list(KNOWN))

# Shapes as torchvision's and the port's own constructors make them, written out.
VGG16_WIDTHS = {0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128), 12: (256, 256), 14: (256, 256)}
VGG16_WIDTHS |= {17: (512, 256), 19: (512, 512), 21: (512, 512), 24: (512, 512), 26: (512, 512), 28: (512, 512)}
VGG16_DENSE = {0: (4096, 25088), 3: (4096, 4096), 6: (1000, 4096)}
VGGISH_WIDTHS = {0: (64, 1), 3: (128, 64), 6: (256, 128), 8: (256, 256), 11: (512, 256), 13: (512, 512)}
VGGISH_DENSE = {0: (4096, 12288), 2: (4096, 4096), 4: (128, 4096)}


def _shapes(convolutions, dense, dense_name):
    weights = {f"features.{place}": (*shape, 3, 3) for place, shape in convolutions.items()}
    weights |= {f"{dense_name}.{place}": shape for place, shape in dense.items()}
    return {
        f"{name}.{part}": shape if part == "weight" else shape[:1]
        for name, shape in weights.items()
        for part in ("weight", "bias")
    }


FULL = {
    "vgg16": _shapes(VGG16_WIDTHS, VGG16_DENSE, "classifier"),
    "vggish": _shapes(VGGISH_WIDTHS, VGGISH_DENSE, "embeddings"),
}


def _model(name, **settings):
    torch.manual_seed(0)
    return TRANSFERRED[name](tiny_config(name, **settings)).eval()


def _file(folder, name, model, **changes):
    """The published file of a network as small as `model`, with random numbers, and its content."""
    generator = torch.Generator().manual_seed(1)
    shapes = {key: shape for key, (shape, _) in KNOWN[name](model.config).tensors.items()}
    # The dense layers that are left behind keep their size: one number stands for all.
    tensors = {
        key: torch.randn(1, generator=generator).expand(shape)
        if key.startswith("classifier")
        else torch.randn(shape, generator=generator)
        for key, shape in shapes.items()
    }
    tensors |= changes
    path = folder / "weights.pth"
    torch.save({key: tensor for key, tensor in tensors.items() if tensor is not None}, path)
    return path, tensors


@BOTH
def test_the_published_names_and_shapes_are_those_of_the_files(name):
    known = KNOWN[name](TRANSFERRED[name].config_class())
    assert {key: shape for key, (shape, _) in known.tensors.items()} == FULL[name]
    left_behind = {key for key, (_, ours) in known.tensors.items() if ours is None}
    assert left_behind == {key for key in FULL[name] if key.startswith("classifier")}


@torch.no_grad()
def test_three_planes_are_a_colour_each(tmp_path):
    model = _model("vgg16", deltas=2)
    path, tensors = _file(tmp_path, "vgg16", model)
    load_published(model, path)
    assert torch.equal(model.encoder.layers[0].convolutions[0].weight, tensors["features.0.weight"])


@torch.no_grad()
def test_vgg16_computes_what_the_published_stages_do(tmp_path):
    model = _model("vgg16")
    path, tensors = _file(tmp_path, "vgg16", model)
    load_published(model, path)
    features = 0.1 * torch.randn(1, 64, 32)
    picture = features[:, None].expand(-1, 3, -1, -1)
    for stage in ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)):
        for place in stage:
            weight, bias = tensors[f"features.{place}.weight"], tensors[f"features.{place}.bias"]
            picture = functional.relu(functional.conv2d(picture, weight, bias, padding=1))
        picture = functional.max_pool2d(picture, 2)
    frames, _ = model.encoder(features, torch.ones(1, 64, dtype=torch.bool))
    assert picture.abs().max() > 1
    torch.testing.assert_close(frames, picture.transpose(1, 2).flatten(2), rtol=1e-4, atol=1e-3)


@torch.no_grad()
def test_vggish_computes_what_the_port_does(tmp_path):
    model = _model("vggish")
    path, tensors = _file(tmp_path, "vggish", model)
    load_published(model, path)
    examples = torch.randn(1, 2, 96 * 64)
    picture = examples.view(2, 1, 96, 64)
    for stage in ((0,), (3,), (6, 8), (11, 13)):
        for place in stage:
            weight, bias = tensors[f"features.{place}.weight"], tensors[f"features.{place}.bias"]
            picture = functional.relu(functional.conv2d(picture, weight, bias, padding=1))
        picture = functional.max_pool2d(picture, 2)
    vectors = picture.transpose(1, 3).transpose(1, 2).flatten(1)
    for place in (0, 2, 4):
        weight, bias = tensors[f"embeddings.{place}.weight"], tensors[f"embeddings.{place}.bias"]
        vectors = functional.relu(functional.linear(vectors, weight, bias))
    embeddings, _ = model.encoder(examples, torch.ones(1, 2, dtype=torch.bool))
    assert vectors.std() > 1
    torch.testing.assert_close(embeddings[0], vectors, rtol=1e-4, atol=1e-3 * float(vectors.abs().max()))
