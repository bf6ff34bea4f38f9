"""Published weights: the network computes what the published one does; others are refused."""

import dataclasses
import hashlib
import re

import librosa
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.testing import tiny_config
from torch import nn
from torch.nn import functional

from ser_hf.loading.published import PUBLISHED
from ser_hf.loading.transferred import TENSORS, load_published
from ser_hf.models import TRANSFERRED
from ser_hf.utils.errors import UserError

EACH = pytest.mark.parametrize("name", ["byols", "cnn14"])


def _fresh(name, **settings):
    return TRANSFERRED[name](tiny_config(name, **settings)).eval()


def _noise(samples):
    return torch.randn(1, samples, generator=torch.Generator().manual_seed(samples)) * 0.1


def _generated(config):
    """A file's tensors: random, but for those that follow from the front end's settings."""
    generator = torch.Generator().manual_seed(5)
    tensors = {}
    state = TRANSFERRED[config.model_type.removeprefix("ser_")](config).state_dict()
    # biases of its convolutions
    unused = (config.channels,) if config.model_type == "ser_byols" else (1,)
    for name, ours in TENSORS[config.model_type].names.items():
        shape = state[ours].shape if ours else unused
        if name.endswith("num_batches_tracked"):
            tensors[name] = torch.tensor(308602)
        elif "running_var" in name or "bn" in name and name.endswith(".weight"):
            tensors[name] = torch.rand(shape, generator=generator) + 0.5
        elif name == "bn0.running_mean":
            tensors[name] = torch.full(shape, -30.0)  # decibels
        else:
            tensors[name] = (
                torch.randn(shape, generator=generator) / max(1, np.prod(shape[1:])) ** 0.5
            )
    if config.model_type == "ser_cnn14":
        # As the published front end's code makes them (torchlibrosa).
        size = config.n_fft
        transform = np.exp(-2j * np.pi * np.outer(np.arange(size), np.arange(size // 2 + 1)) / size)
        transform *= librosa.filters.get_window("hann", size, fftbins=True)[:, None]
        tensors["spectrogram_extractor.stft.conv_real.weight"] = torch.tensor(
            transform.real.T[:, None]
        ).float()
        tensors["spectrogram_extractor.stft.conv_imag.weight"] = torch.tensor(
            transform.imag.T[:, None]
        ).float()
        mel = librosa.filters.mel(
            sr=16000, n_fft=size, n_mels=config.n_mels, fmin=50.0, fmax=8000.0
        )
        tensors["logmel_extractor.melW"] = torch.tensor(mel.T.copy())
    return tensors


def _saved(tensors, name, folder):
    save_file(
        {key: tensor.contiguous() for key, tensor in tensors.items()},
        folder / f"{name}.safetensors",
    )
    return folder / f"{name}.safetensors"


def _byols(tensors, waveform):
    """The published network as its papers and its file describe it: a picture of bands x frames,
    biases and all.
    """
    power = librosa.feature.melspectrogram(
        y=waveform[0].numpy(),
        sr=16000,
        n_fft=1024,
        hop_length=160,
        n_mels=16,
        fmin=60,
        fmax=7800,
        pad_mode="reflect",
    )
    log_mel = torch.tensor(np.log(power + np.finfo(np.float32).eps))
    picture = ((log_mel - log_mel.mean()) / log_mel.std(correction=0))[None, None]
    layers = []
    for inputs in (1, 4, 4):
        layers += [
            nn.Conv2d(inputs, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
    dense = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 8), nn.ReLU())
    network = nn.ModuleDict({"features": nn.Sequential(*layers), "fc": dense}).eval()
    network.load_state_dict(tensors)
    # time, then bands, then channels
    frames = network["features"](picture)[0].permute(2, 1, 0).flatten(1)
    frames = network["fc"](frames)
    return frames.mean(dim=0) + frames.amax(dim=0)


def _cnn14(tensors, waveform):
    """The published network by the formulas of its paper and the matrices of its file."""
    padded = nn.functional.pad(waveform[:, None], (256, 256), mode="reflect")
    real, imaginary = (
        nn.functional.conv1d(
            padded, tensors[f"spectrogram_extractor.stft.conv_{part}.weight"], stride=160
        )
        for part in ("real", "imag")
    )
    mel = (real.square() + imaginary.square()).transpose(1, 2) @ tensors["logmel_extractor.melW"]
    picture = 10 * torch.log10(mel.clamp(min=1e-10))[:, None]

    def norm(values, name):
        statistics = (
            tensors[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return nn.functional.batch_norm(values, *statistics)

    picture = norm(picture.transpose(1, 3), "bn0").transpose(1, 3)
    for block in range(1, 7):
        for i in (1, 2):
            weight = tensors[f"conv_block{block}.conv{i}.weight"]
            picture = nn.functional.conv2d(picture, weight, padding=1)
            picture = torch.relu(norm(picture, f"conv_block{block}.bn{i}"))
        picture = nn.functional.avg_pool2d(picture, 2 if block < 6 else 1)
    frames = picture.mean(dim=3)
    clip = frames.amax(dim=2) + frames.mean(dim=2)
    return torch.relu(clip @ tensors["fc1.weight"].T + tensors["fc1.bias"])[0]


@EACH
@torch.no_grad()
def test_the_loaded_network_equals_the_published_one(name, tmp_path):
    model = _fresh(name, standardize=False)
    tensors = _generated(model.config)
    load_published(model, _saved(tensors, name, tmp_path))
    waveform = _noise(16000)
    if name == "byols":  # the corpus is this clip
        model.front_end.normalize.observing = True
        model.front_end(waveform, torch.tensor([16000]))
        model.front_end.normalize.settle()
    model.classifier = nn.Identity()
    model.classifier.weight = torch.zeros(1)  # only its type is used
    ours = model(waveform).logits[0]
    theirs = {"byols": _byols, "cnn14": _cnn14}[name](tensors, waveform)
    assert theirs.std() > 0.05
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


@EACH
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            "renamed",
            r"{file} is not {published} of https://.*: 1 tensors are missing, the first {first}",
        ),
        (
            "extra",
            r"{file} is not {published} .*: 4 tensors .* a$",
        ),
        (
            "misshapen",
            r"{file}: .*encoder\..*; keep the published sizes in the model section",
        ),
        ("not finite", r"{first} of {file} .*not finite"),
    ],
)
def test_any_other_file_is_refused(name, fault, message, tmp_path):
    model = _fresh(name)
    tensors = _generated(model.config)
    first = next(name for name, ours in TENSORS[model.config.model_type].names.items() if ours)
    if fault == "renamed":
        tensors["other"] = tensors.pop(first)
    elif fault == "extra":
        tensors |= {key: torch.ones(1) for key in "abcd"}
    elif fault == "misshapen":
        tensors[first] = torch.zeros(3, 1)
    elif fault == "not finite":
        tensors[first][(0,) * tensors[first].dim()] = torch.nan
    path = _saved(tensors, name, tmp_path)
    published = PUBLISHED[model.config.model_type].file
    values = {"file": str(path), "published": published, "first": first}
    pattern = message.format(**{key: re.escape(value) for key, value in values.items()})
    with pytest.raises(UserError, match=f"^model.checkpoint: {pattern}"):
        load_published(model, path)


def test_tensors_whose_conversion_fails_are_refused(tmp_path):
    model = _fresh("byols")
    tensors = _generated(model.config)
    tensors["features.0.bias"] = torch.zeros(3)
    path = _saved(tensors, "byols", tmp_path)
    with pytest.raises(UserError, match=r"^model\.checkpoint: .*published sizes"):
        load_published(model, path)


@EACH
def test_a_missing_file_names_its_source(name, tmp_path):
    model = _fresh(name)
    known = PUBLISHED[model.config.model_type]
    origin = re.escape(f"{known.file} (SHA-256 {known.sha256}) from {known.source}")
    with pytest.raises(
        UserError, match=f"model.checkpoint: no such file: .*absent.pth; .*downloads? {origin}"
    ):
        load_published(model, tmp_path / "absent.pth")
    with pytest.raises(UserError, match=rf"^model\.checkpoint: missing; .*{origin}.*model\.random"):
        load_published(model, None)


@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_a_damaged_file_is_refused(damage, tmp_path):
    model = _fresh("byols")
    path = _saved(_generated(model.config), "file", tmp_path)
    whole = path.read_bytes()
    path.write_bytes(
        {"cut": whole[: len(whole) // 2], "text": b"<html>not found</html>", "empty": b""}[damage]
    )
    with pytest.raises(UserError, match=r"^model\.checkpoint: .*file\.\w+ is damaged"):
        load_published(model, path)


class _Harm:
    def __reduce__(self):
        return print, ("run by a file of weights",)


@pytest.mark.parametrize("content", [{}, {"extra": _Harm()}])
def test_only_the_published_pickle_is_opened(tmp_path, capsys, content):
    model = _fresh("byols")
    torch.save(_generated(model.config) | content, tmp_path / "file.pth")
    with pytest.raises(UserError, match=r"file\.pth: a pickle, .*default512_BYOLAs64x96\.pth"):
        load_published(model, tmp_path / "file.pth")
    assert "run by" not in capsys.readouterr().out


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_arrays_of_a_sampler_in_the_file_are_data(module, tmp_path, monkeypatch):
    """The published file of CNN14 has such arrays, in a format of numpy before version 2."""
    model = _fresh("cnn14")
    sampler = {
        "indexes": np.arange(5),
        "pointer": 3,
        "queue": [1, 2],
        "share": np.ones(2, np.float32),
    }
    content = {"iteration": 1, "model": _generated(model.config), "sampler": sampler}
    path = tmp_path / "file.pth"
    torch.save(content, path, _use_new_zipfile_serialization=False)
    written = b"cnumpy._core.multiarray\n"
    assert written in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(written, b"c" + module + b"\n"))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(
        PUBLISHED, "ser_cnn14", dataclasses.replace(PUBLISHED["ser_cnn14"], sha256=digest)
    )
    load_published(model, path)


def _model(name, **settings):
    torch.manual_seed(0)
    return TRANSFERRED[name](tiny_config(name, **settings)).eval()


def _file(folder, name, model):
    """The published file of a network as small as `model`, with random numbers, and its content."""
    generator = torch.Generator().manual_seed(1)
    state = model.state_dict()
    tensors = {}
    for key, ours in TENSORS[f"ser_{name}"].names.items():
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
