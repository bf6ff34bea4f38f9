"""Kinds of encoders and ways to train them: two steps, and `pipeline` predicts as the training
process.
"""

import pytest
import torch
from support.close import assert_near
from support.predictions import predict
from transformers import pipeline

from ser_hf.evaluation.metrics import compute_metrics
from ser_hf.loading.build import build_model
from ser_hf.loading.plan import blueprint
from ser_hf.training.arguments import seed_everything, training_arguments
from ser_hf.training.clips import clip_table
from ser_hf.training.collator import Collator
from ser_hf.training.fit import fit
from ser_hf.training.freezing import Freezing, bare, freeze, structure
from ser_hf.training.lora import Lora, add_lora, merged
from ser_hf.training.settings import TrainerSettings
from ser_hf.training.trainer import EmotionTrainer

# The Trainer's arguments of a recipe without any of its own.
DEFAULTS = TrainerSettings(warmup_steps=0.05).arguments

KINDS = [
    "wav2vec2",
    "wav2vec2-stable",
    "hubert",
    "wavlm",
    "data2vec-audio",
    "sew",
    "wav2vec2-bert",
    "whisper",
]
KINDS += ["audio-spectrogram-transformer", "emotion2vec"]
WITHOUT_STOCK_SUM = ("wav2vec2-stable", "audio-spectrogram-transformer", "emotion2vec")
# Settings, and the places (of two layers) whose parameters change; no other parameter does.
EVERYWHERE = {("head", 0), ("output", 0), ("layer", 1), ("layer", 0), ("input", 0), ("stem", 0)}
HEAD = {("head", 0)}
TOP = {("head", 0), ("output", 0), ("layer", 1)}
WAYS = {
    "full": ({}, {}, EVERYWHERE),
    "frozen": ({}, {"freezing": Freezing(encoder=True)}, HEAD),
    "first layer frozen": ({}, {"freezing": Freezing(layers=1)}, TOP),
    "lora": ({}, {"lora": Lora(2)}, HEAD),
    "dora": ({}, {"lora": Lora(2, dora=True, rslora=True)}, HEAD),
    "weighted sum": ({"weighted_layer_sum": True}, {}, EVERYWHERE),
    "attention": ({"pooling": "attention", "head_layers": [6]}, {}, EVERYWHERE),
    "attentive_stats": ({"pooling": "attentive_stats"}, {}, EVERYWHERE),
}
# Each kind and each way once in the quick suite.
QUICK = set(zip(KINDS, WAYS, strict=False)) | {("audio-spectrogram-transformer", "full")}
CASES = [
    (kind, way)
    for kind in KINDS
    for way in WAYS
    if kind in ("wav2vec2", "whisper", "emotion2vec") or (kind, way) in QUICK
]


@pytest.mark.parametrize(
    ("kind", "way"),
    [pytest.param(*case, marks=[] if case in QUICK else pytest.mark.slow) for case in CASES],
)
def test_two_steps_and_the_pipeline(kind, way, encoder_folder, labels, clips, store, tmp_path):
    head, settings, places = WAYS[way]
    if way == "weighted sum" and kind in WITHOUT_STOCK_SUM:
        # The stock head has none, or not one for all versions of transformers.
        head = head | {"pooling": "mean"}
    if way == "weighted sum" and kind == "sew":  # its stock sum leaves out what follows the layers
        places = places - {("output", 0)}
    plan = blueprint("encoder", labels, checkpoint=str(encoder_folder(kind)), **head)
    seed_everything(0)
    model = build_model(plan)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    parts = structure(model)
    freeze(model, settings.get("freezing", Freezing()))
    if "lora" in settings:
        model = add_lora(model, settings["lora"])
    arguments = DEFAULTS | {
        "num_train_epochs": 2,
        "per_device_train_batch_size": 4,
        "learning_rate": 0.01,
    }
    arguments |= {"warmup_steps": 0, "lr_scheduler_type": "constant"}
    fitted = fit(
        model,
        plan.extractor,
        store,
        clip_table(clips, range(4), store),
        clip_table(clips, range(4, 8), store),
        training_arguments(
            arguments, tmp_path / "run", 0, padding_safe=plan.padding_safe, progress=False
        ),
        compute_metrics,
    )
    assert fitted.trainer.state.global_step == 2
    evaluated = clip_table(clips, [8], store)
    _, logits = predict(fitted.trainer, evaluated)

    # Whisper's positions are sinusoids, which stay.
    names = [name for name in before if "embed_positions" not in name]
    assert _moved(model, before, parts) == places & {parts.position(name) for name in names}
    published = merged(fitted.trainer.model)
    published.save_pretrained(tmp_path / "model")
    plan.published_extractor.save_pretrained(tmp_path / "model")
    loaded = pipeline("audio-classification", model=str(tmp_path / "model"), device="cpu")
    assert type(loaded.model) is type(published)
    given = loaded.preprocess(store[8])
    with torch.no_grad():
        assert_near(loaded.model(**given).logits, torch.from_numpy(logits))
    scores = {answer["label"]: answer["score"] for answer in loaded(store[8], top_k=None)}
    expected = torch.from_numpy(logits)[0].softmax(dim=0).tolist()
    assert scores == pytest.approx(dict(zip(labels, expected, strict=True)), abs=1e-5)


def _moved(model, before, parts):
    after = {bare(name): value for name, value in model.state_dict().items() if "lora_" not in name}
    return {
        parts.position(name)
        for name, value in before.items()
        if not torch.equal(after[name].cpu(), value)
    }


def test_a_checkpoint_of_other_tensors_is_refused_or_reported(
    encoder_folder, labels, clips, store, tmp_path
):
    plan = blueprint("encoder", labels, checkpoint=str(encoder_folder("wav2vec2")))
    arguments = training_arguments(DEFAULTS, tmp_path, 0, progress=False)
    few = clip_table(clips, range(4), store)
    collator = Collator(store, plan.extractor)
    trainer = EmotionTrainer(build_model(plan), arguments, collator, few, few)
    whole = trainer.model.state_dict()
    trainer._issue_warnings_after_load(trainer.model.load_state_dict(whole, strict=False))
    whole["elsewhere"] = whole.pop("classifier.weight")
    with pytest.raises(RuntimeError, match=r"1 are missing, 1 are unknown \(classifier\.weight"):
        trainer._issue_warnings_after_load(trainer.model.load_state_dict(whole, strict=False))
