"""LoRA: trainable parameters, merged weights, saved adapters, and a training with them."""

import json
import math

import pytest
import torch
from ddp_script import ENCODER as STEADY
from ddp_script import STEP
from lora_script import adapted_curves, enlarged, stock_classifier
from peft import PeftModel
from safetensors.torch import load_file
from support.close import assert_near
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForAudioClassification

import ser_hf
from ser_hf.models import PooledEncoderConfig, PooledEncoderForAudioClassification
from ser_hf.training.averaging import TRAINED_WEIGHTS
from ser_hf.training.checkpoints import MARKER
from ser_hf.training.freezing import bare, structure
from ser_hf.training.lora import Lora, add_lora, merged, plain_parameters, save_adapter
from ser_hf.training.sharding import prepare_for_sharding
from ser_hf.utils.errors import UserError

QUICK = [
    "wav2vec2",
    "wavlm",
    "sew-d",
    "wav2vec2-bert",
    "whisper",
    "audio-spectrogram-transformer",
    "emotion2vec",
    "pooled",
]


@pytest.fixture(scope="module")
def classifier(encoder_folder):
    """A function from a kind to a new classifier of four classes on its checkpoint, see
    `stock_classifier`.
    """

    def make(kind, seed=0, **options):
        if kind != "pooled":
            return stock_classifier(encoder_folder(kind), seed, **options)
        torch.manual_seed(seed)
        stock = AutoModel.from_pretrained(encoder_folder("wav2vec2-layer"))
        head = {
            "pooling": "attentive_stats",
            "weighted_layer_sum": True,
            "head_layers": [4],
            "num_labels": 4,
        }
        config = PooledEncoderConfig(encoder=stock.config, **head)
        return enlarged(PooledEncoderForAudioClassification(config, stock))

    return make


def inputs_of(model):
    config = model.config
    shapes = {
        "whisper": lambda: (config.num_mel_bins, 2 * config.max_source_positions),
        "audio-spectrogram-transformer": lambda: (config.max_length, config.num_mel_bins),
        "wav2vec2-bert": lambda: (40, config.feature_projection_input_dim),
    }
    shape = shapes.get(config.model_type, lambda: (8000,))()
    noise = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    return {model.main_input_name: noise}


@torch.no_grad()
def logits_of(model, inputs):
    return model.eval()(**inputs).logits


def trainable_of(model):
    return {
        name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad
    }


def steps(model, inputs, count=2):
    """Steps large enough for small gradients: that of A is small as long as B is next to zero."""
    optimizer = torch.optim.Adam(trainable_of(model).values(), 0.01, eps=1e-30)
    model.train()
    for _ in range(count):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(**inputs).logits, torch.tensor([0, 1])).backward()
        optimizer.step()


@torch.no_grad()
def disturb(model):
    """Change every trainable weight, as a long training would."""
    generator = torch.Generator().manual_seed(2)
    for parameter in trainable_of(model).values():
        parameter += 0.1 * torch.randn(parameter.shape, generator=generator)


def check_a_kind(classifier, kind, folder, **lora):
    model = classifier(kind)
    inputs = inputs_of(model)
    where = structure(model)
    before = logits_of(model, inputs)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    adapted = add_lora(model, Lora(2, **lora))
    assert_near(logits_of(adapted, inputs), before)

    head = {name for name in weights if where.position(name)[0] == "head"}
    trainable = {name: value.detach().clone() for name, value in trainable_of(adapted).items()}
    assert {bare(name) for name in trainable if "lora_" not in name} == head
    assert {where.position(bare(name)) for name in trainable if "lora_" in name} == {
        ("layer", 0),
        ("layer", 1),
    }

    steps(adapted, inputs)
    assert [
        name for name, value in trainable_of(adapted).items() if torch.equal(value, trainable[name])
    ] == []
    disturb(adapted)
    after = logits_of(adapted, inputs)
    assert (after - before).abs().max() > 0.01
    state = {
        bare(name): value
        for name, value in adapted.state_dict().items()
        if "original_module" not in name
    }
    for name in weights.keys() - head:
        assert torch.equal(state[name], weights[name]), name

    plain = merged(adapted)
    assert type(plain) is type(model)
    assert plain.state_dict().keys() == weights.keys()
    assert_near(logits_of(plain, inputs), after)
    assert_near(logits_of(adapted, inputs), after, tolerance=1e-6)  # the adapted model is as it was
    assert sum(p.numel() for p in plain_parameters(adapted)) == sum(
        p.numel() for p in plain.parameters()
    )

    plain.save_pretrained(folder)
    again = AutoModelForAudioClassification.from_pretrained(folder)
    assert_near(logits_of(again, inputs), after)

    save_adapter(adapted, folder / "adapter", "someone/encoder")
    files = {path.name for path in (folder / "adapter").iterdir()}
    assert files == {"adapter_config.json", "adapter_model.safetensors"}
    loaded = PeftModel.from_pretrained(classifier(kind, seed=5), folder / "adapter")
    assert type(loaded) is PeftModel
    assert_near(logits_of(loaded, inputs), after)


@pytest.mark.parametrize("kind", QUICK)
def test_adapter_and_merged_model_reload_to_equal_logits(classifier, kind, tmp_path):
    check_a_kind(classifier, kind, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["dora", "rslora"])
@pytest.mark.parametrize("kind", ["wav2vec2", "whisper", "pooled"])
def test_other_adapters_reload_to_equal_logits(classifier, kind, variant, tmp_path):
    check_a_kind(classifier, kind, tmp_path, dropout=0.1, **{variant: True})


@pytest.mark.parametrize(
    ("lora", "scale"),
    [({}, 6 / 4), ({"rslora": True}, 6 / math.sqrt(4)), ({"dora": True}, 6 / 4)],
    ids=["lora", "rslora", "dora"],
)
def test_the_merged_weight_by_hand(classifier, lora, scale):
    adapted = add_lora(classifier("wav2vec2"), Lora(4, alpha=6, **lora))
    disturb(adapted)
    layer = adapted.get_submodule("base_model.model.wav2vec2.encoder.layers.1.attention.v_proj")
    expected = (
        layer.base_layer.weight + scale * layer.lora_B.default.weight @ layer.lora_A.default.weight
    )
    if "dora" in lora:
        lengths = layer.lora_magnitude_vector.default.weight
        expected = lengths[:, None] * expected / expected.norm(dim=1, keepdim=True)
    weight = merged(adapted).wav2vec2.encoder.layers[1].attention.v_proj.weight
    assert_near(weight, expected)


def test_targets_of_the_recipe(classifier):
    model = classifier("wav2vec2-bert")
    adapted = add_lora(model, Lora(2, targets=("ffn1.intermediate_dense", "linear_k")))
    found = {bare(name) for name in trainable_of(adapted) if "lora_A" in name}
    layers = [f"wav2vec2_bert.encoder.layers.{i}" for i in (0, 1)]
    names = ("ffn1.intermediate_dense", "self_attn.linear_k")
    assert found == {f"{layer}.{name}.lora_A.default.weight" for layer in layers for name in names}


@pytest.mark.parametrize(
    ("kind", "target"),
    [("hubert", "query"), ("hubert", "projection"), ("hubert", "projector"), ("wavlm", "q_proj")],
)
def test_a_target_that_cannot_be_adapted(classifier, kind, target):
    with pytest.raises(
        UserError, match=rf"^lora\.targets: no {target} in {kind}; choose from .*dense"
    ):
        add_lora(classifier(kind), Lora(2, targets=(target,)))


def test_a_rank_beyond_the_smallest_target_s_is_refused(classifier):
    targets = ("q_proj", "feed_forward.intermediate_dense")
    assert (
        add_lora(classifier("wav2vec2"), Lora(16, targets=targets)).peft_config["default"].r == 16
    )
    with pytest.raises(UserError, match=r"^lora\.rank: .* 16, .* 17$"):
        add_lora(classifier("wav2vec2"), Lora(17, targets=targets))


def test_batch_norms_of_the_encoder_keep_their_statistics(classifier):
    adapted = add_lora(classifier("wav2vec2-conformer"), Lora(2))
    norm = adapted.wav2vec2_conformer.encoder.layers[0].conv_module.batch_norm
    before = norm.running_mean.clone()
    inputs = inputs_of(adapted)
    steps(adapted, inputs)
    assert adapted.training
    assert torch.equal(norm.running_mean, before)


def test_the_folder_names_no_path_of_this_machine(classifier, encoder_folder, tmp_path):
    adapted = add_lora(classifier("hubert"), Lora(2, targets=["v_proj", "q_proj"]))
    folder = encoder_folder("hubert")
    for base, name in ((str(folder), folder.name), ("someone/encoder", "someone/encoder")):
        save_adapter(adapted, tmp_path, base)
        config = json.loads((tmp_path / "adapter_config.json").read_text(encoding="utf-8"))
        assert config["base_model_name_or_path"] == name
        assert config["target_modules"] == sorted(config["target_modules"])


# A training with them.


@pytest.fixture(scope="module")
def trained(classifier, store):
    """A function from a folder and settings to what `adapted_curves` measured, and the trained
    model.
    """

    def train(folder, batch=STEP, accumulation=1, **how):
        return adapted_curves(
            classifier("wav2vec2-layer", **STEADY), store, folder, batch, accumulation, **how
        )

    return train


@pytest.mark.parametrize("average", [None, "ema"])
def test_a_resumed_training_ends_with_the_same_weights(trained, tmp_path, average):
    often = {"eval_strategy": "steps", "save_strategy": "steps", "eval_steps": 1, "save_steps": 1}
    often |= {"save_total_limit": None, "average": average}
    whole, model = trained(tmp_path, **often)
    for checkpoint in (tmp_path / f"checkpoint-{step}" for step in (1, 2, 3, 4)):
        there = {path.name for path in checkpoint.iterdir()}
        assert {"adapter_config.json", "adapter_model.safetensors", MARKER} <= there
        assert "model.safetensors" not in there
        assert (TRAINED_WEIGHTS in there) == (average is not None)
        saved = load_file(checkpoint / "adapter_model.safetensors")
        assert "base_model.model.layer_weights" in saved
        assert len(saved) == len(trainable_of(model))
    for step in (3, 4):
        (tmp_path / f"checkpoint-{step}" / MARKER).unlink()
    resumed, again = trained(tmp_path, resume=True, **often)
    for key, values in whole.items():
        assert resumed[key] == pytest.approx(values, rel=1e-4, abs=1e-5), key
    for name, value in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["fsdp", "deepspeed"])
def test_sharded_weights_are_refused(classifier, kind, monkeypatch):
    monkeypatch.setenv(f"ACCELERATE_USE_{kind.upper()}", "true")
    with pytest.raises(UserError, match=rf"^lora: .*launch without {kind}"):
        prepare_for_sharding(add_lora(classifier("hubert"), Lora(2)))


# The route of a recipe.

RECIPE = """
name: adapted
corpus: {name: synthetic, speakers: 6, takes: 1}
protocol: {near_duplicates: skip, validation: 0.2}
audio: {max_duration: 0.5}
model: {architecture: encoder, weighted_layer_sum: true}
lora: {rank: 2, dora: true}
training:
  {max_steps: 2, learning_rate: 0.05, warmup_steps: 0,
   eval_strategy: steps, eval_steps: 1, save_strategy: steps, save_steps: 1}
evaluation: {bootstrap: 20}
"""


@pytest.fixture(scope="module")
def run(encoder_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapted")
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    overrides = [
        f"output_dir={folder / 'run'}",
        f"model.checkpoint={encoder_folder('wav2vec2-layer')}",
    ]
    return folder / "run", ser_hf.run_recipe(folder / "recipe.yaml", overrides)


def test_a_run_leaves_a_merged_model_and_its_adapter(run, encoder_folder):
    folder, report = run
    model = AutoModelForAudioClassification.from_pretrained(folder / "model")
    assert report.model.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert not any("lora" in name or "base" in name for name in model.state_dict())
    assert not (folder / "model" / "adapter_config.json").exists()

    config = AutoConfig.from_pretrained(folder / "model")
    torch.manual_seed(7)
    base = AutoModelForAudioClassification.from_pretrained(
        encoder_folder("wav2vec2-layer"), config=config
    )
    base.layer_weights.data.fill_(torch.nan)
    loaded = PeftModel.from_pretrained(base, folder / "model" / "adapter")
    assert (
        loaded.peft_config["default"].base_model_name_or_path
        == encoder_folder("wav2vec2-layer").name
    )
    inputs = inputs_of(model)
    assert_near(logits_of(loaded, inputs), logits_of(model, inputs))
    weights = model.layer_weights
    assert not torch.equal(weights, torch.full_like(weights, 1 / len(weights)))
