"""Loading accounts for every tensor of a checkpoint and of a model."""

import contextlib
import json
import logging
import re
import shutil
import sys
from types import SimpleNamespace

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from support.close import assert_near
from support.testing import CHECKPOINTS, tiny_config
from transformers import AutoConfig, AutoModel, AutoModelForAudioClassification

from ser_hf.loading.build import build_model
from ser_hf.loading.encoders import ENCODERS
from ser_hf.loading.plan import blueprint
from ser_hf.loading.weights import whole_parameters
from ser_hf.models import CRNNForAudioClassification, MfccSvmForAudioClassification
from ser_hf.utils.errors import UserError

STOCK = {}
POOLED = {"pooling": "attention", "head_layers": [5]}
# Small heads of other tasks.
TASKS = {
    "num_codevectors_per_group": 4,
    "codevector_dim": 8,
    "proj_codevector_dim": 8,
    "xvector_output_dim": 8,
}
TASKS |= {"tdnn_dim": (6, 6), "tdnn_kernel": (1, 1), "tdnn_dilation": (1, 1), "vocab_size": 6}
both_heads = pytest.mark.parametrize("head", [STOCK, POOLED], ids=["stock", "pooled"])


@pytest.fixture(scope="module")
def tasks(encoder_folder, tmp_path_factory):
    """Folder of the layer-norm wav2vec2 as another class of transformers saves it."""
    written = {}

    def folder(kind):
        if kind not in written:
            path = shutil.copytree(
                encoder_folder("wav2vec2-layer"), tmp_path_factory.mktemp(kind) / "checkpoint"
            )
            config = AutoConfig.from_pretrained(path, **TASKS)
            getattr(transformers, kind)(config).save_pretrained(path)
            written[kind] = path
        return written[kind]

    return folder


@pytest.fixture
def copied(encoder_folder, tmp_path):
    """A checkpoint by its name, its tensors changed by a function before it is saved again."""

    def copy(name, change=lambda tensors: None):
        folder = shutil.copytree(encoder_folder(name), tmp_path / name)
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        return folder

    return copy


@pytest.fixture
def load(labels):
    def loaded(folder, head=STOCK, **settings):
        transformers.set_seed(0)
        return build_model(blueprint("encoder", labels, checkpoint=str(folder), **head, **settings))

    return loaded


def encoder(model):
    return model.get_submodule(
        "encoder" if hasattr(model, "pooling") else ENCODERS[model.config.model_type].name
    )


def tensors(module):
    return dict(module.state_dict())


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert torch.equal(ours[name], value), name


@both_heads
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_every_kind_is_complete(encoder_folder, load, name, head):
    folder = encoder_folder(name)
    model = load(folder, head)
    published = AutoModel.from_pretrained(folder)
    assert_same(
        tensors(encoder(model)), tensors(published.encoder if name == "whisper" else published)
    )
    for key, tensor in [*model.named_parameters(), *model.named_buffers()]:
        assert not tensor.is_floating_point() or tensor.isfinite().all(), key
    assert model.classifier is not None
    assert type(model).__name__.startswith("PooledEncoder") is bool(head)


@both_heads
@pytest.mark.parametrize(
    ("kind", "dropped"),
    [
        ("Wav2Vec2ForPreTraining", "project_hid, project_q, quantizer"),
        ("Wav2Vec2ForCTC", "lm_head"),
        ("Wav2Vec2ForXVector", "classifier, feature_extractor, objective, projector, tdnn"),
        ("Wav2Vec2ForAudioFrameClassification", "classifier"),
        ("Wav2Vec2ForSequenceClassification", "classifier"),
    ],
)
def test_heads_of_other_tasks_are_dropped_and_logged(tasks, load, caplog, kind, dropped, head):
    if head and kind == "Wav2Vec2ForSequenceClassification":
        dropped = "classifier, projector"
    with caplog.at_level(logging.INFO, "ser_hf"):
        model = load(tasks(kind), head)
    theirs = getattr(transformers, kind).from_pretrained(tasks(kind))
    assert_same(tensors(encoder(model)), tensors(theirs.wav2vec2))
    new = "classifier, head, pooling" if head else "classifier, projector"
    new = "classifier" if kind == "Wav2Vec2ForSequenceClassification" and not head else new
    lines = [
        record.getMessage() for record in caplog.records if record.name == "ser_hf.loading.weights"
    ]
    assert len(lines) == 1
    assert f"new, random head: {new}" in lines[0]
    assert lines[0].endswith(f"dropped: {dropped}")


def test_old_names_of_the_positions_are_known(copied, load, encoder_folder):
    """The first weight normalization of torch named its tensors weight_g and weight_v."""
    new = "conv.parametrizations.weight.original"
    old = ("conv.weight_g", "conv.weight_v")

    def rename(tensors):
        for i, name in enumerate(old):
            (key,) = [key for key in tensors if key.endswith(f"{new}{i}")]
            tensors[key.replace(f"{new}{i}", name)] = tensors.pop(key)

    model = load(copied("wav2vec2-layer", rename))
    assert_same(
        tensors(encoder(model)),
        tensors(AutoModel.from_pretrained(encoder_folder("wav2vec2-layer"))),
    )


@both_heads
def test_another_architecture_s_weights_are_refused(encoder_folder, load, tmp_path, head):
    """WavLM's tensors fit wav2vec2 except for the gates of its attention."""
    folder = shutil.copytree(encoder_folder("wavlm-large"), tmp_path / "checkpoint")
    config = AutoConfig.from_pretrained(folder)
    transformers.WavLMModel(config).save_pretrained(folder)
    edited = json.loads((folder / "config.json").read_text(encoding="utf-8")) | {
        "model_type": "wav2vec2"
    }
    (folder / "config.json").write_text(json.dumps(edited), encoding="utf-8")
    message = r"^model\.checkpoint: .* does not fit Wav2Vec2ForSequenceClassification: \d+ "
    with pytest.raises(UserError, match=message):
        load(folder, head)


@both_heads
@pytest.mark.parametrize("name", ["wav2vec2-layer", "whisper"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors, key: tensors.pop(key), "1 tensors are not in the checkpoint, the first"),
        (
            lambda tensors, key: tensors.update({key: tensors[key][:1].clone()}),
            "another shape",
        ),
        (
            lambda tensors, key: tensors.update({key.replace("weight", "gate"): torch.ones(1)}),
            "not in the model, the first .*gate",
        ),
    ],
    ids=["missing", "shape", "extra"],
)
def test_an_encoder_s_tensor_is_neither_random_nor_ignored(
    copied, load, name, change, message, head
):
    def one(tensors):
        within = (
            key
            for key in tensors
            if re.search(r"layers?\.1\..*weight$", key) and "decoder" not in key
        )
        change(tensors, min(within))

    remedy = "use a checkpoint of the same architecture"
    with pytest.raises(UserError, match=rf"^model\.checkpoint: .*{message}.*; {remedy}$"):
        load(copied(name, one), head)


def test_a_damaged_number_is_refused(copied, load):
    def break_one(tensors):
        tensors["encoder.layers.1.layer_norm.weight"][3] = torch.nan

    with pytest.raises(UserError, match=r"NaN .* \S*encoder\.layers\.1\.layer_norm"):
        load(copied("wav2vec2-layer", break_one))


def test_a_truncated_file_is_refused(copied, load):
    folder = copied("wav2vec2-layer")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match=r"^model\.checkpoint: weights of [^\n]+$"):
        load(folder)


@both_heads
def test_half_precision_is_trained_in_single(copied, load, tmp_path, head):
    folder = copied("wav2vec2-layer")
    AutoModel.from_pretrained(folder).half().save_pretrained(folder)
    assert AutoConfig.from_pretrained(folder).dtype == torch.float16
    model = load(folder, head)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert {parameter.dtype for parameter in load(folder, head, random_init=True).parameters()} == {
        torch.float32
    }
    model.save_pretrained(tmp_path / "again")
    again = AutoModelForAudioClassification.from_pretrained(tmp_path / "again")
    assert {parameter.dtype for parameter in again.parameters()} == {torch.float32}


@pytest.mark.parametrize("name", ["wav2vec2", "wavlm", "whisper"])
def test_stock_weights_over_layers_start_uniform(encoder_folder, load, name):
    """transformers leaves this parameter uninitialized."""
    weights = load(encoder_folder(name), weighted_layer_sum=True).layer_weights
    assert_near(weights.detach(), torch.full((3,), 1 / 3))


@pytest.fixture
def ours(encoder_folder, load, tmp_path):
    """The folder of our model, and the model."""
    model = load(encoder_folder("wav2vec2-layer"), POOLED | {"weighted_layer_sum": True})
    with torch.no_grad():
        model.layer_sum.weight.copy_(torch.tensor([1.0, 2.0, 3.0]))
    folder = shutil.copytree(encoder_folder("wav2vec2-layer"), tmp_path / "pushed")
    model.save_pretrained(folder)
    return folder, model


def test_our_model_gets_a_new_last_layer_for_other_labels(ours, caplog):
    folder, model = ours
    with caplog.at_level(logging.INFO, "ser_hf"):
        again = build_model(blueprint("encoder", ["no", "yes"], checkpoint=str(folder)))
    assert again.classifier.out_features == 2
    assert not hasattr(again, "layer_sum"), "the recipe sets none"
    rest = {
        key: value for key, value in tensors(again).items() if not key.startswith("classifier.")
    }
    assert_same(rest, {key: tensors(model)[key] for key in rest})
    assert caplog.messages[-1].endswith("dropped: classifier, layer_sum")


@pytest.fixture
def headed(encoder_folder, labels, tmp_path):
    """A function that saves a classifier of a kind of encoder under `head`, and gives its folder
    and it.
    """

    def save(name, head, names=labels):
        transformers.set_seed(1)
        model = build_model(
            blueprint("encoder", names, checkpoint=str(encoder_folder(name)), **head)
        )
        folder = shutil.copytree(encoder_folder(name), tmp_path / "headed")
        with torch.no_grad():
            list(model.classifier.parameters())[-1].copy_(torch.arange(len(names)))  # the last bias
        model.save_pretrained(folder)
        return folder, tensors(model)

    return save


LAST = {"audio-spectrogram-transformer": "classifier.dense"}
each_last_layer = pytest.mark.parametrize(
    ("name", "head"),
    [("hubert", STOCK), ("hubert", POOLED), ("audio-spectrogram-transformer", STOCK)],
    ids=str,
)


@each_last_layer
def test_a_head_follows_the_order_of_our_labels(headed, labels, caplog, name, head):
    folder, stored = headed(name, head)
    ours = [labels[i] for i in (2, 0, 3, 1)]
    with caplog.at_level(logging.INFO, "ser_hf"):
        model = build_model(blueprint("encoder", ours, checkpoint=str(folder)))
    for part in ("weight", "bias"):
        key = f"{LAST.get(name, 'classifier')}.{part}"
        stored[key] = stored[key][[2, 0, 3, 1]]
    assert_same(tensors(model), stored)
    assert caplog.messages[-1].endswith(": last layer reordered to our labels")


@each_last_layer
def test_a_recipe_names_the_outputs_of_a_head(headed, labels, caplog, name, head):
    """Rows of numbered outputs land at the labels that the recipe says they are."""
    folder, stored = headed(name, head, [f"LABEL_{i}" for i in range(5)])
    names = [labels[2], "calm", labels[0], "other", labels[3]]
    with caplog.at_level(logging.INFO, "ser_hf"):
        plan = blueprint("encoder", labels, checkpoint=str(folder), label_names=names)
        model = build_model(plan)
    for part in ("weight", "bias"):
        key = f"{LAST.get(name, 'classifier')}.{part}"
        rows = tensors(model)[key]
        assert torch.equal(rows[[0, 2, 3]], stored[key][[2, 0, 4]])
        assert not torch.equal(rows[1], stored[key][1])
    assert f"last layer kept for {labels[0]}, {labels[2]}, {labels[3]}" in caplog.messages[-1]
    assert "rows of the last layer left out: calm, other" in caplog.messages[-1]


def test_words_of_others_are_read_as_labels(headed, caplog):
    folder, stored = headed("hubert", STOCK, ["neu", "hap", "ang", "sad"])
    ours = ["angry", "happy", "neutral", "sad"]
    with caplog.at_level(logging.INFO, "ser_hf"):
        model = build_model(blueprint("encoder", ours, checkpoint=str(folder)))
    assert torch.equal(model.classifier.weight, stored["classifier.weight"][[2, 1, 0, 3]])
    assert caplog.messages[-1].endswith(": last layer reordered to our labels")


def test_names_in_the_order_of_our_labels_keep_the_whole_head(headed, labels):
    folder, stored = headed("hubert", STOCK, [f"LABEL_{i}" for i in range(len(labels))])
    plan = blueprint("encoder", labels, checkpoint=str(folder), label_names=labels)
    assert_same(tensors(build_model(plan)), stored)


def test_names_for_a_head_that_is_not_kept_are_refused(encoder_folder, headed, labels):
    bare = str(encoder_folder("hubert"))  # transformers gives it two labels
    plan = blueprint("encoder", labels, checkpoint=bare, label_names=labels[:2])
    with pytest.raises(UserError, match=r"^model\.label_names: .* no trained classifier"):
        build_model(plan)
    folder, _ = headed("hubert", STOCK)
    with pytest.raises(UserError, match=r"^model\.label_names: .* replaces; leave it out"):
        blueprint("encoder", labels, checkpoint=str(folder), label_names=labels, pooling="mean")


def test_support_vector_machines_of_other_labels_are_unchanged(tmp_path):
    model = MfccSvmForAudioClassification(tiny_config("mfcc_svm"))
    model.save_pretrained(tmp_path)
    again = build_model(blueprint("encoder", ["w", "x", "y", "z"], checkpoint=str(tmp_path)))
    assert_same(tensors(again), tensors(model))


def drop(folder, key):
    held = load_file(folder / "model.safetensors")
    del held[key]
    save_file(held, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize("key", ["head.1.weight", "pooling.score.weight", "classifier.bias"])
def test_our_model_is_complete_or_refused(ours, load, key):
    folder, _ = ours
    drop(folder, key)
    with pytest.raises(UserError, match=rf"^model\.checkpoint: .* the first {key}"):
        load(folder)


def test_other_own_networks_are_loaded(labels, tmp_path):
    transformers.set_seed(0)
    config = tiny_config("crnn")
    config.id2label = dict(enumerate(labels))
    CRNNForAudioClassification(config).save_pretrained(tmp_path)
    again = build_model(blueprint("encoder", labels, checkpoint=str(tmp_path)))
    assert_same(tensors(again), load_file(tmp_path / "model.safetensors"))
    assert (
        build_model(
            blueprint("encoder", labels[:3], checkpoint=str(tmp_path))
        ).classifier.out_features
        == 3
    )
    key = sorted(load_file(tmp_path / "model.safetensors"))[0]
    drop(tmp_path, key)
    with pytest.raises(UserError, match=rf"^model\.checkpoint: .* the first {key}"):
        build_model(blueprint("encoder", labels, checkpoint=str(tmp_path)))


def test_a_new_layer_sum_is_filled_under_zero_3_which_empties_parameters(tmp_path, monkeypatch):
    """DeepSpeed's part is played: sharded parameters have a mark, and their elements only in its
    context.
    """
    sharded = torch.nn.Parameter(torch.empty(0))
    seen = []
    sharded.ds_id = 7

    @contextlib.contextmanager
    def gather(parameters, modifier_rank):
        seen.append((list(map(id, parameters)), modifier_rank))
        sharded.data = torch.zeros(3)
        yield
        sharded.data = torch.empty(0)

    zero = SimpleNamespace(GatheredParameters=gather)
    monkeypatch.setitem(sys.modules, "deepspeed", SimpleNamespace(zero=zero))
    with whole_parameters([sharded, torch.nn.Parameter(torch.zeros(2))]):
        assert len(sharded) == 3
    assert seen == [([id(sharded)], 0)]
    assert not len(sharded)
    with whole_parameters([torch.nn.Parameter(torch.zeros(2))]):
        assert len(seen) == 1, "nothing is sharded"
