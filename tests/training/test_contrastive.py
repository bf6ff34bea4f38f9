"""The supervised contrastive loss by hand and by the paper's sums, and that it hears every kind of classifier."""

import copy
import gc
import math
import weakref

import pytest
import torch
from transformers import ASTConfig, AutoModelForAudioClassification, WhisperConfig

from ser_hf.errors import UserError
from ser_hf.models import CRNNForAudioClassification
from ser_hf.testing import tiny_config
from ser_hf.training.contrastive import SupervisedContrastive, supervised_contrastive
from ser_hf.training.loss import ClassificationLoss

E = math.e


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        # Anchors 0 and 1 have each other, at a similarity of 1, among e + 1; the third has no positive.
        ([0, 0, 1], 2 * (math.log(E + 1) - 1)),
        # All of one class: the mean of two logarithms (not the logarithm of their mean), and the third's 1/2 twice.
        ([0, 0, 0], 2 * (math.log(E + 1) - 1 / 2) + math.log(2)),
        ([0, 1, 2], 0),
        # 0 and 2, at a similarity of 0: from e + 1 and from 1 + 1.
        ([0, 1, 0], math.log(E + 1) + math.log(2)),
        # Nobody but each other: nothing to be told from.
        ([0, 0, -100], 0),
        ([0, -100, -100], 0),
        ([-100, -100, -100], 0),
    ],
)
@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_by_hand(ids, expected):
    """Directions (1, 0) twice and (0, 1); lengths do not matter."""
    embeddings = torch.tensor([[2.0, 0.0], [0.5, 0.0], [0.0, 3.0]], requires_grad=True)
    loss = supervised_contrastive(embeddings, torch.tensor(ids), 1.0)
    assert loss.item() == pytest.approx(expected, rel=1e-6, abs=1e-6)
    with torch.autograd.detect_anomaly(check_nan=True):
        loss = supervised_contrastive(embeddings, torch.tensor(ids), 1.0)
        loss.backward()
    assert torch.isfinite(embeddings.grad).all()


@pytest.mark.parametrize("temperature", [0.01, 0.1, 1.0])
def test_it_is_the_papers_sum(temperature):
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(9, 4, generator=generator)
    ids = [0, 1, 2, 0, 1, 0, 3, -100, -100]
    z = embeddings.double() / embeddings.double().norm(dim=1, keepdim=True)
    expected = 0.0
    for i in range(7):
        others = [a for a in range(7) if a != i]
        positives = [p for p in others if ids[p] == ids[i]]
        whole = sum(math.exp(z[i] @ z[a] / temperature) for a in others)
        for p in positives:
            expected -= math.log(math.exp(z[i] @ z[p] / temperature) / whole) / len(positives)
    loss = supervised_contrastive(embeddings, torch.tensor(ids), temperature)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_clips_that_do_not_count_leave_no_trace():
    generator = torch.Generator().manual_seed(0)
    embeddings, ids = torch.randn(6, 4, generator=generator), torch.tensor([0, -100, 1, 0, -100, 1])
    leaf, kept = embeddings.clone().requires_grad_(), ids != -100
    supervised_contrastive(leaf, ids, 0.1).backward()
    alone = embeddings[kept].requires_grad_()
    supervised_contrastive(alone, ids[kept], 0.1).backward()
    torch.testing.assert_close(leaf.grad[kept], alone.grad)
    assert torch.equal(leaf.grad[~kept], torch.zeros(2, 4))
    assert alone.grad.abs().max() > 0.1


def test_embeddings_of_half_precision_are_compared_in_float32():
    embeddings, ids = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1] * 3)
    embeddings = embeddings.bfloat16()
    expected = supervised_contrastive(embeddings.float(), ids, 0.1)
    with torch.autocast("cpu", torch.bfloat16):
        loss = supervised_contrastive(embeddings, ids, 0.1)
    assert loss.dtype == torch.float32
    assert loss == expected


def test_silence_has_a_gradient():
    embeddings = torch.zeros(3, 4, requires_grad=True)
    supervised_contrastive(embeddings, torch.tensor([0, 0, 1]), 0.1).backward()
    assert torch.isfinite(embeddings.grad).all()


WHISPER = {
    "d_model": 16,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 32,
    "num_mel_bins": 8,
    "max_source_positions": 50,
    "classifier_proj_size": 8,
    "num_labels": 4,
}
AST = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_length": 64,
    "num_mel_bins": 16,
    "num_labels": 4,
}
IDS = torch.tensor([0, 1, 0, 2, 1, -100])


@pytest.fixture
def network(checkpoint):
    """Name -> a tiny classifier of four labels with nothing random, and inputs of six clips."""

    def build(name):
        torch.manual_seed(0)
        if name == "crnn":
            model, inputs = CRNNForAudioClassification(tiny_config("crnn")), {"input_values": torch.randn(6, 8000)}
        elif name == "wav2vec2":
            model = AutoModelForAudioClassification.from_pretrained(checkpoint("wav2vec2"), num_labels=4)
            inputs = {"input_values": torch.randn(6, 8000)}
        elif name == "ast":
            model = AutoModelForAudioClassification.from_config(ASTConfig(**AST))
            inputs = {"input_values": torch.randn(6, 64, 16)}
        else:
            model = AutoModelForAudioClassification.from_config(WhisperConfig(**WHISPER))
            inputs = {"input_features": torch.randn(6, 8, 100)}
        return model.eval(), inputs

    return build


def _gradients(model):
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return gradients


@pytest.mark.parametrize("name", ["crnn", "wav2vec2", "ast", "whisper"])
def test_it_hears_what_the_classifier_is_given(network, name):
    model, inputs = network(name)
    contrastive = SupervisedContrastive(0.5, 0.1)
    handle = contrastive.listen(model.classifier)
    given = []
    model.classifier.register_forward_hook(lambda module, arguments, output: given.append(arguments[0]))
    logits = model(**inputs).logits
    loss = contrastive(IDS)
    (embeddings,) = given
    assert embeddings.dim() == 2
    assert loss == 0.5 * supervised_contrastive(embeddings, IDS, 0.1)
    loss.backward()
    gradients = _gradients(model)
    assert not any(parameter.startswith("classifier.") for parameter in gradients)
    assert any(gradient.abs().max() > 1e-5 for gradient in gradients.values()), "what stands before it learns"
    handle.remove()
    torch.testing.assert_close(model.classifier(embeddings), logits)
    model(**inputs)
    with pytest.raises(RuntimeError, match="heard no classifier"):
        contrastive(IDS)


@pytest.mark.parametrize("name", ["wav2vec2", "whisper"])
@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated:FutureWarning")
def test_checkpointed_layers_change_nothing(network, name, reentrant):
    gradients = []
    for checkpointed in (False, True):
        model, inputs = network(name)
        if checkpointed:
            model.gradient_checkpointing_enable({"use_reentrant": reentrant})
        assert model.is_gradient_checkpointing == checkpointed
        model.train()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        for setting in ("dropout", "attention_dropout", "activation_dropout", "mask_time_prob"):
            setattr(model.config, setting, 0.0)
        contrastive = SupervisedContrastive(0.5, 0.1)
        contrastive.listen(model.classifier)
        torch.manual_seed(1)
        loss = ClassificationLoss(contrastive=contrastive)(model(**inputs), IDS)
        loss.backward()
        assert contrastive._embeddings is None, "computing again leaves nothing behind"
        gradients.append(_gradients(model))
    torch.testing.assert_close(gradients[0], gradients[1])


def test_a_wrapped_network_is_heard(network, tmp_path):
    """As DistributedDataParallel wraps it after listening began; one process."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        gradients = []
        for wrap in (False, True):
            model, inputs = network("crnn")
            contrastive = SupervisedContrastive(0.5, 0.1)
            contrastive.listen(model.classifier)
            outer = torch.nn.parallel.DistributedDataParallel(model, find_unused_parameters=True) if wrap else model
            for _ in range(2):  # a second step, after the first has been forgotten
                loss = ClassificationLoss(contrastive=contrastive)(outer(**inputs), IDS)
                loss.backward()
            gradients.append(_gradients(model))
        torch.testing.assert_close(gradients[0], gradients[1])
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_a_compiled_network_is_heard(network):
    model, inputs = network("crnn")
    contrastive = SupervisedContrastive(0.5, 0.1)
    contrastive.listen(model.classifier)
    loss = ClassificationLoss(contrastive=contrastive)
    gradients = []
    # Traced without a compiler of C++.
    for run in (model, torch.compile(model, backend="aot_eager")):
        loss(run(**inputs), IDS).backward()
        gradients.append(_gradients(model))
        with torch.no_grad():
            loss(run(**inputs), IDS)
        assert contrastive._embeddings is None
    torch.testing.assert_close(gradients[0], gradients[1])


def test_a_copied_network_reports_to_the_same_listener(network):
    """As averages of weights and adapters copy it, even between a forward pass and its loss."""
    model, inputs = network("crnn")
    contrastive = SupervisedContrastive(0.5, 0.1)
    contrastive.listen(model.classifier)
    model(**inputs)
    copied = copy.deepcopy(model)
    first = contrastive(IDS)
    copied(**inputs)
    assert contrastive(IDS) == first


def test_the_graph_dies_with_the_step(network):
    model, inputs = network("crnn")
    contrastive = SupervisedContrastive(0.5, 0.1)
    contrastive.listen(model.classifier)
    kept = []
    model.classifier.register_forward_hook(lambda module, given, output: kept.append(weakref.ref(given[0])))
    output = model(**inputs)
    assert kept[0]() is not None
    loss = ClassificationLoss(contrastive=contrastive)(output, IDS)
    loss.backward()
    del output, loss
    gc.collect()
    assert kept[0]() is None


def test_evaluation_leaves_nothing_behind(network):
    model, inputs = network("crnn")
    contrastive = SupervisedContrastive(0.5, 0.1)
    contrastive.listen(model.classifier)
    model(**inputs)  # a forward pass whose loss was never asked for
    with torch.no_grad():
        model(**inputs)
    with pytest.raises(RuntimeError, match="heard no classifier"):
        contrastive(IDS)


@pytest.mark.parametrize("shape", [(6, 10, 5), (3, 5)])
def test_anything_but_a_vector_for_each_clip_is_told(shape):
    """Frames are not pooled yet, or several GPUs of one process each took a part of the batch."""
    classifier, contrastive = torch.nn.Linear(5, 2), SupervisedContrastive(0.5)
    contrastive.listen(classifier)
    classifier(torch.zeros(shape))
    with pytest.raises(UserError, match=r"^training\.loss\.contrastive_weight: .* for 6 clips"):
        contrastive(IDS)
