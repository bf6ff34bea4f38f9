"""The supervised contrastive loss by hand and by the paper's sums, and that it hears every kind of classifier."""

import gc
import math
import weakref

import pytest
import torch
from transformers import AutoModelForAudioClassification

from ser_hf.models import CRNNForAudioClassification
from ser_hf.testing import tiny_config, tiny_encoder_config
from ser_hf.training.loss import ClassificationLoss, SupervisedContrastive, supervised_contrastive
from ser_hf.utils.errors import UserError

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


IDS = torch.tensor([0, 1, 0, 2, 1, -100])


@pytest.fixture
def network():
    """Name -> a tiny classifier of four labels with nothing random, and inputs of six clips."""
    shapes = {"audio-spectrogram-transformer": (6, 96, 16), "whisper": (6, 16, 100)}

    def build(name):
        torch.manual_seed(0)
        if name == "crnn":
            model = CRNNForAudioClassification(tiny_config("crnn"))
        else:
            model = AutoModelForAudioClassification.from_config(tiny_encoder_config(name, num_labels=4))
        return model.eval(), {model.main_input_name: torch.randn(shapes.get(name, (6, 8000)))}

    return build


def _gradients(model):
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return gradients


@pytest.mark.parametrize("name", ["crnn", "wav2vec2", "audio-spectrogram-transformer", "whisper"])
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
    with pytest.raises(RuntimeError, match="has no embeddings"):
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


class _Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.classifier = torch.nn.Linear(8, 5), torch.nn.Linear(5, 4)

    def forward(self, vectors):
        return {"logits": self.classifier(self.body(vectors).relu())}


@pytest.mark.slow
def test_a_compiled_network_is_heard():
    torch.manual_seed(0)
    model, vectors, contrastive = _Small(), torch.randn(6, 8), SupervisedContrastive(0.5, 0.1)
    contrastive.listen(model.classifier)
    loss = ClassificationLoss(contrastive=contrastive)
    gradients = []
    for run in (model, torch.compile(model, backend="aot_eager")):  # without a compiler of C++
        loss(run(vectors), IDS).backward()
        gradients.append(_gradients(model))
        with torch.no_grad():
            loss(run(vectors), IDS)
        assert contrastive._embeddings is None
    torch.testing.assert_close(gradients[0], gradients[1])


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


@pytest.mark.parametrize("shape", [(6, 10, 5), (3, 5)])
def test_anything_but_a_vector_for_each_clip_is_told(shape):
    """Frames are not pooled yet, or several GPUs of one process each took a part of the batch."""
    classifier, contrastive = torch.nn.Linear(5, 2), SupervisedContrastive(0.5)
    contrastive.listen(classifier)
    classifier(torch.zeros(shape))
    with pytest.raises(UserError, match=r"^training\.loss\.contrastive_weight: .* for 6 clips"):
        contrastive(IDS)
