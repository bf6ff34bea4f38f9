"""Keys of a recipe that contradict each other, or that would have no effect."""

import pytest

from ser_hf.experiment.reading import read_recipe
from ser_hf.experiment.recipe_checks import FIXED_POOLINGS
from ser_hf.utils.errors import UserError

CORPUS = {"corpus": {"name": "synthetic"}}
ENCODER = CORPUS | {"model": {"architecture": "encoder", "checkpoint": "someone/encoder"}}
BYOLS = CORPUS | {"model": {"architecture": "byols", "checkpoint": "weights.pth"}}
CRNN = CORPUS | {"model": {"architecture": "crnn"}}
MFCC_SVM = CORPUS | {"model": {"architecture": "mfcc_svm"}}
FUNCTIONALS = CORPUS | {"model": {"architecture": "functionals_svm"}}
FITTED = ["training.solver=sklearn"]
TEMPERATURE = "evaluation.temperature"


def refusal(source, *overrides):
    """The message about keys that contradict each other."""
    with pytest.raises(UserError) as error:
        read_recipe(source, overrides)
    return str(error.value)


def test_an_encoder_needs_a_checkpoint():
    assert refusal(ENCODER, "model.checkpoint=null") == (
        "model.checkpoint: missing; encoder needs a Hub id or a folder"
    )


def test_two_ways_to_freeze_contradict_each_other():
    assert refusal(ENCODER, "freeze.layers=1", "freeze.top_layers=1") == (
        "freeze.top_layers: contradicts freeze.layers; leave out one of them"
    )


def test_a_metric_of_the_other_task_is_refused_with_those_of_this_one():
    message = refusal(CRNN, "training.early_stopping.metric=accuracy")
    assert message.startswith(
        "training.early_stopping.metric: unknown metric 'accuracy' of emotions; choose "
    )
    assert "uar" in message


def test_what_scikit_learn_would_ignore_is_refused():
    assert refusal(BYOLS, *FITTED, "freeze.layers=1") == (
        "freeze.layers: has no effect with scikit-learn, which fits whole clips as they are; "
        "leave it out"
    )


@pytest.mark.parametrize(
    ("source", "overrides", "key"),
    [
        (ENCODER, ["lora.rank=8", "freeze.layers=1"], "freeze"),
        (BYOLS, ["lora.rank=8"], "lora"),
        (ENCODER, ["freeze.encoder=true", "freeze.layers=1"], "freeze.layers"),
        (CRNN, ["freeze.cache=true", "augment.gain={probability: 1}"], "freeze.cache"),
        (CRNN, ["freeze.cache=true", "augment.mixup={probability: 1}"], "freeze.cache"),
        (CRNN, ["training.activation_checkpointing=true"], "training.activation_checkpointing"),
        (CRNN, ["training.torch_compile=true"], "training.torch_compile"),
        # transformers compiles with this key alone, too
        (BYOLS, ["training.torch_compile_mode=default"], "training.torch_compile_mode"),
        (CRNN, ["training.report_to=mlflow"], "training.report_to"),
        (CRNN, ["evaluation.per_speaker=true"], "evaluation.per_speaker"),
        (BYOLS, ["model.checkpoint=null"], "model.checkpoint"),
        (BYOLS, ["model.head=svm"], "model.head"),
        (BYOLS, [*FITTED, "model.head=svm", "evaluation.temperature=store"], TEMPERATURE),
        (ENCODER, FITTED, "training.solver"),
        (ENCODER, [*FITTED, "model.pooling=mean", "lora.rank=2"], "lora.rank"),
        (MFCC_SVM, ["audio.max_duration=2"], "audio.max_duration"),
        (MFCC_SVM, ["training.learning_rate=0.1"], "training.learning_rate"),
        (MFCC_SVM, ["augment.gain={probability: 1}"], "augment.gain"),
        (MFCC_SVM, ["evaluation.temperature=store"], TEMPERATURE),
        (FUNCTIONALS, ["audio.normalize=true"], "audio.normalize"),
        (FUNCTIONALS, ["evaluation.window=2"], "evaluation.window"),
    ],
)
def test_a_contradiction_is_named_by_its_key(source, overrides, key):
    assert refusal(source, *overrides).startswith(f"{key}: ")


def test_compilation_without_a_compiler_is_refused(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    compiled = "training.torch_compile=true"
    assert refusal(ENCODER, compiled).startswith(
        "training.torch_compile: needs a C++ compiler, and no-such-compiler is not installed"
    )
    # this backend compiles no C++
    recipe = read_recipe(ENCODER, [compiled, "training.torch_compile_backend=aot_eager"])
    assert recipe.training.torch_compile


@pytest.mark.parametrize("pooling", FIXED_POOLINGS)
def test_an_encoder_with_fixed_pooling_may_be_fitted_by_scikit_learn(pooling):
    recipe = read_recipe(ENCODER, [f"model.pooling={pooling}", "training.solver=sklearn"])
    assert recipe.training.solver == "sklearn"
    assert read_recipe(recipe.to_dict()) == recipe
