"""Promises of every network: padding changes nothing, saving and loading is exact, fresh weights
are sound.

Each test runs for each architecture in a tiny size, some in the default size too.
"""

import ast
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from built import NETWORKS, batch_of, built, probabilities_without_ser_hf, trained
from signals import noise
from support.close import assert_near
from support.testing import tiny_config
from transformers import AutoModelForAudioClassification, Wav2Vec2FeatureExtractor

import ser_hf.models
from ser_hf.models import ARCHITECTURES, TRANSFERRED
from ser_hf.models.layers import MaskedBatchNorm1d, MaskedBatchNorm2d

FOLDER = Path(ser_hf.models.__file__).parent
EACH = pytest.mark.parametrize("name", NETWORKS)


# Transferred networks are large, and have the same layers in any size.
SIZES = [pytest.param(name, True, id=f"tiny-{name}") for name in NETWORKS]
OWN = [name for name in NETWORKS if name not in TRANSFERRED]
SIZES += [pytest.param(name, False, id=f"default-{name}", marks=pytest.mark.slow) for name in OWN]


@pytest.mark.parametrize(("name", "tiny"), SIZES)
def test_padding_to_three_times_the_length_changes_no_logit(name, tiny):
    model = trained(built(name, tiny))
    clips = [noise(samples, seed=i) for i, samples in enumerate((3210, 8000, 3 * 8000))]
    with torch.no_grad():
        batched = model(**batch_of(*clips)).logits
        alone = torch.cat([model(clip).logits for clip in clips])
    assert batched.std(dim=0).min() > 1e-4, "the clips must get different logits"
    # A large network that is barely trained has large logits: the tolerance is relative to them.
    assert (batched - alone).abs().max() < 1e-5 * batched.abs().max().clamp(min=1)


@torch.no_grad()
def test_speeds_of_evaluation_average_embeddings():
    """A linear classifier's logits are the mean of those at each speed, also of a padded clip; not
    in training.
    """
    speeds = [0.9, 1.0, 1.1]
    model = built("byols")
    config = tiny_config("byols")
    state = model.state_dict()
    clips = [noise(6000), noise(9000, seed=1)]

    def logits(speeds):
        config.test_speeds = speeds
        changed = ARCHITECTURES["byols"](config).eval()
        changed.load_state_dict(state)
        return changed(**batch_of(*clips)).logits

    assert_near(logits([1.0]), logits([]))
    assert_near(logits(speeds), torch.stack([logits([speed]) for speed in speeds]).mean(dim=0))
    assert (logits([0.9]) - logits([1.1])).abs().max() > 1e-3


@EACH
@torch.no_grad()
def test_values_in_the_padding_do_not_matter(name):
    # The first clip is shorter than one frame, which then reaches beyond the clip's end.
    model = built(name)
    batch = batch_of(noise(400), noise(9000, seed=1))
    loud = batch["input_values"] + 3.0 * (1 - batch["attention_mask"])
    assert_near(model(loud, batch["attention_mask"]).logits, model(**batch).logits, tolerance=1e-6)


@EACH
@pytest.mark.parametrize("samples", [1, 500, 20 * 16000])
@torch.no_grad()
def test_the_shortest_and_the_longest_clip_get_logits(name, samples):
    model = built(name)
    alone = model(noise(samples)).logits
    batched = model(**batch_of(noise(samples), noise(16000, seed=1))).logits[:1]
    assert alone.shape == (1, 4)
    assert alone.isfinite().all()
    assert_near(batched, alone)


@EACH
def test_loss_is_the_mean_cross_entropy(name):
    model = built(name)
    batch = batch_of(noise(4000), noise(6000, seed=1))
    labels = torch.tensor([2, 0])
    output = model(**batch, labels=labels)
    by_hand = -output.logits.log_softmax(dim=1)[torch.arange(2), labels].mean()
    assert_near(output.loss, by_hand)
    assert model(**batch).loss is None


@EACH
@torch.no_grad()
def test_a_loaded_network_gives_equal_logits(name, tmp_path):
    model = trained(built(name))
    model.save_pretrained(tmp_path)
    loaded = AutoModelForAudioClassification.from_pretrained(tmp_path)
    assert type(loaded) is ARCHITECTURES[name]
    assert not loaded.training
    assert all(
        torch.equal(value, model.state_dict()[key]) for key, value in loaded.state_dict().items()
    )
    batch = batch_of(noise(7000), noise(16000, seed=1))
    assert_near(loaded(**batch).logits, model(**batch).logits)
    auto_map = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["auto_map"]
    file = type(model).__module__.rpartition(".")[2]
    assert auto_map["AutoConfig"] == f"{file}.{type(model.config).__name__}"
    assert auto_map["AutoModelForAudioClassification"] == f"{file}.{type(model).__name__}"
    code = {path.stem for path in tmp_path.glob("*.py")}
    assert {file, "configuration", "options", "front_end", "modeling_base"} <= code
    networks = {name for name in code if name.startswith("modeling_")}
    assert len(networks - {file, "modeling_base"}) <= 1, "no networks that this one does not need"


@pytest.fixture(scope="module")
def without_ser_hf(tmp_path_factory):
    """Expected probabilities by network, and those of `pipeline` without ser_hf."""
    folder = tmp_path_factory.mktemp("hub")
    clip = noise(12345)
    expected = {}
    for name in NETWORKS:
        model = trained(built(name))
        model.save_pretrained(folder / name)
        Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True).save_pretrained(
            folder / name
        )
        with torch.no_grad():
            expected[name] = model(clip).logits.softmax(dim=1).numpy()
    return expected, probabilities_without_ser_hf(
        folder, [clip[0].numpy()], dict.fromkeys(NETWORKS, 1)
    )


@pytest.mark.slow
@EACH
def test_the_pipeline_needs_no_ser_hf(name, without_ser_hf):
    expected, predictions = without_ser_hf
    assert_near(predictions[name][0], expected[name])
    assert np.ptp(expected[name]) > 1e-4


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in TRANSFERRED else ())
        for name in NETWORKS
    ],
)
@torch.no_grad()
def test_a_fresh_network_keeps_the_scale_of_its_signal(name):
    model = built(name, tiny=False)
    scales = {}
    for key, module in model.named_modules():
        if isinstance(module, MaskedBatchNorm1d | MaskedBatchNorm2d):
            module.train()  # statistics of the batch, as in the first step
        elif ".attend." in key:
            continue  # after its normalization noises hardly differ
        elif list(module.parameters(recurse=False)) and not key.startswith("front_end"):
            module.register_forward_hook(
                lambda _, __, out, key=key: scales.update({key: _spread(out)})
            )
    logits = model(torch.cat([noise(32000, seed=i) for i in range(8)])).logits
    assert all(0.02 < scale < 20 for scale in scales.values()), scales
    assert 1e-3 < logits.std() < 2


def _spread(output):
    output = output[0] if isinstance(output, tuple) else output
    return (
        (output.data if isinstance(output, torch.nn.utils.rnn.PackedSequence) else output)
        .std()
        .item()
    )


@EACH
@torch.no_grad()
def test_bfloat16_autocast_stays_near_float32(name):
    model = trained(built(name))
    batch = batch_of(noise(7000), noise(16000, seed=1))
    exact = model(**batch).logits
    with torch.autocast("cpu", dtype=torch.bfloat16):
        try:
            rounded = model(**batch).logits
        except RuntimeError as error:  # where ONEDNN_MAX_CPU_ISA allows less than the processor has
            if "could not create a primitive descriptor" in str(error):
                pytest.skip("oneDNN has no LSTM in bfloat16 here")
            raise
    torch.testing.assert_close(rounded.float(), exact, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("[!_]*.py")), ids=lambda path: path.name)
def test_shipped_files_import_only_what_a_hub_user_has(path):
    allowed = {"torch", "numpy", "transformers"} | set(sys.stdlib_module_names)
    siblings = {sibling.stem for sibling in FOLDER.glob("*.py")}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    # transformers' rule
    optional = [node for own in ast.walk(tree) if isinstance(own, ast.Try) for node in own.body]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) and node not in optional:
            assert {alias.name.partition(".")[0] for alias in node.names} <= allowed
        elif isinstance(node, ast.ImportFrom) and node.level:
            # `from . import x` and `from ..x import y` are not copied along by save_pretrained.
            assert (node.level, node.module) in {(1, name) for name in siblings}
        elif isinstance(node, ast.ImportFrom):
            assert node.module.partition(".")[0] in allowed
