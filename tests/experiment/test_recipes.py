"""The shipped recipes, each as a twin: the same recipe is trained at a tiny size and its model is
loaded.
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.quiet import no_warning_of_a_library
from support.testing import corpora, tiny_config, write_corpus
from support.testing.models import TINY
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

import ser_hf
from ser_hf.experiment.plan import plan_run
from ser_hf.experiment.reading import read_recipe
from ser_hf.loading.published import PUBLISHED
from ser_hf.loading.transferred import TENSORS
from ser_hf.models import ARCHITECTURES, TRANSFERRED

RECIPES = Path(__file__).parents[2] / "recipes"
SHIPPED = sorted(
    {*RECIPES.rglob("*.yaml")} - {*RECIPES.glob("accelerate/*")} - {*RECIPES.glob("sweeps/*")}
)
shipped = pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)

# Clips per actor and emotion are as few as protocols can do with: sentences of TESS are held out,
# so it takes two.
SPEAKERS = {
    "ravdess": 24,
    "cremad": 10,
    "tess": 2,
    "savee": 4,
    "emodb": 10,
    "iemocap": 6,
    "msp_podcast": 8,
    "csv": 4,
}
TAKES = {"tess": 2}
ROOTS = {
    "ravdess": "RAVDESS",
    "cremad": "CREMA-D",
    "tess": "TESS",
    "savee": "SAVEE",
    "emodb": "EMO-DB",
}
ROOTS |= {"iemocap": "IEMOCAP", "msp_podcast": "MSP-Podcast", "csv": "clips.csv"}
# Checkpoint of a recipe -> the kind of tiny one that is like it.
ENCODERS = {
    "facebook/wav2vec2-base": "wav2vec2",
    "facebook/wav2vec2-large-xlsr-53": "wav2vec2-stable",
    "facebook/wav2vec2-large-robust": "wav2vec2-stable",
    "facebook/wav2vec2-xls-r-300m": "wav2vec2-stable",
    "facebook/hubert-large-ll60k": "hubert-large",
    "microsoft/wavlm-base-plus": "wavlm",
    "microsoft/wavlm-large": "wavlm-large",
    "openai/whisper-large-v3": "whisper",
    "weights/emotion2vec_plus_base": "emotion2vec",
}
# The recipe whose twin runs its foil too.
FOILED = "cremad_mfcc"
FOLDS = re.compile("leave_one_|kfold|emobox/ravdess|luna-jimenez/ravdess")


def corpora_of(recipe):
    """(name, root) of each of a recipe's corpora."""
    items = recipe.corpus.options.get("corpora") or [recipe.corpus]
    return [(item.name, item.root) for item in items if item.name != "synthetic"]


@shipped
def test_the_head_names_the_folders_and_files_that_a_recipe_needs(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    head = " ".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))
    recipe = read_recipe(path)
    own = corpora_of(recipe)
    assert [root for _, root in own] == [f"data/{ROOTS[name]}" for name, _ in own]
    if len(own) == 1:
        assert f"in {own[0][1]}" in head
    checkpoint = recipe.model.plan.get("checkpoint") or ""
    if checkpoint.startswith("runs/"):
        parent = checkpoint.split("/")[1]
        assert f"recipes/{parent}.yaml trains" in head
        assert (RECIPES / f"{parent}.yaml").is_file()
    elif recipe.model.architecture in TRANSFERRED:
        folder, file = recipe.model.checkpoint.split("/")
        assert file == published(recipe).file
        assert file in head
        assert f"in {folder}/" in head
    elif recipe.model.architecture == "encoder":
        assert f"the weights of {recipe.model.checkpoint.partition('/')[2]}" in head


def test_each_recipe_begins_with_its_purpose_and_each_network_is_in_one():
    texts = [path.read_text(encoding="utf-8") for path in SHIPPED]
    purpose = r"# ([A-Z].+)\n# .*ser_hf\.train recipes/"
    purposes = {
        re.match(purpose + path.name, text)[1] for path, text in zip(SHIPPED, texts, strict=True)
    }
    assert len(purposes) == len(SHIPPED)
    assert [name for name in ARCHITECTURES if not re.search(rf"\b{name}\b", "".join(texts))] == []
    for path, text in zip(SHIPPED, texts, strict=True):
        for network in re.findall(r"model\.architecture=(\w+)", text):
            assert (
                read_recipe(path, [f"model.architecture={network}"]).model.architecture == network
            )


def leaves(value, key=""):
    """{full key: value} of nested sections."""
    if not isinstance(value, dict):
        return {key: value}
    return {
        full: leaf
        for name, part in value.items()
        for full, leaf in leaves(part, f"{key}.{name}").items()
    }


@pytest.mark.parametrize(
    ("one", "other", "keys"),
    [
        (
            "ravdess_emobox_se_resnet",
            "ravdess_emobox_robust",
            r"\.(audio\.trim_silence|augment|training\.num_train_epochs)\b",
        ),
        ("ravdess_cnn2d", "ravdess_cnn1d", r"\.(model|augment\.gain)\."),
        ("cremad_cnn2d", "cremad_cnn1d_descriptors", r"\.(model|training\.num_train_epochs$)"),
        ("mixture_four_cnn2d", "mixture_leave_one_corpus_out", r"\.(corpus|protocol)\."),
    ],
)
def test_twins_differ_in_the_compared_keys_only(one, other, keys):
    mine, its = (leaves(read_recipe(RECIPES / f"{name}.yaml").to_dict()) for name in (one, other))
    differing = {key for key in mine.keys() | its.keys() if mine.get(key, ...) != its.get(key, ...)}
    assert differing > {".name", ".output_dir"}
    assert [
        key for key in sorted(differing - {".name", ".output_dir"}) if not re.match(keys, key)
    ] == []


# The twins


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """A function from a corpus to a tree in its official grammar, of clips of a second that are
    noise and a tone.
    """
    generator = np.random.default_rng(0)
    written = {}

    def tone(voice, emotion, take, seed, sampling_rate):
        time = np.arange(int(sampling_rate * generator.uniform(1.0, 1.1))) / sampling_rate
        pitch = 100 + 20 * voice + 50 * corpora.EMOTIONS.index(emotion)
        return 0.1 * np.sin(2 * np.pi * pitch * time) + 0.05 * generator.standard_normal(len(time))

    def root(name, last=None):
        """`last`: the actors from the 51st to the last."""
        if (name, last) not in written:
            folder = tmp_path_factory.mktemp(name)
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(corpora, "utterance", tone)  # with realistic but slow voices
                paths = write_corpus(
                    name, folder, speakers=last or SPEAKERS[name], takes=TAKES.get(name, 1)
                )
            for path in paths[: 50 * len(paths) // last] if last else ():
                path.unlink()
            written[name, last] = folder / "clips.csv" if name == "csv" else folder
        return written[name, last]

    return root


def published(recipe):
    """The file of published weights for a transferred network."""
    return PUBLISHED[ARCHITECTURES[recipe.model.architecture].config_class.model_type]


def write_published(path, recipe):
    """The published file of the tiny network: every tensor, of random numbers above zero, as
    variances have to be.
    """
    generator = torch.Generator().manual_seed(0)
    model = ARCHITECTURES[recipe.model.architecture](tiny_config(recipe.model.architecture))
    state = model.state_dict()
    tensors = {}
    for name, ours in TENSORS[model.config.model_type].names.items():
        tensors[name] = 0.1 * torch.rand(
            () if ours is None else state[ours].shape, generator=generator
        )
    save_file(tensors, path)
    return path


def smaller(path, recipe, roots, encoder_folder, folder):
    """Return the overrides of a twin: a generated corpus, a tiny network, and one run, epoch and
    fold.
    """
    architecture = recipe.model.architecture
    yield f"output_dir={folder / 'run'}"
    yield from ("evaluation.bootstrap=20", "training.seeds=[1]")
    # Of few clips a random foil would leave a part without a class.
    yield "protocol.validation=2.0e-1" if path.stem == FOILED else "protocol.foil=null"
    if FOLDS.match(recipe.protocol.name):
        yield "protocol.folds=[1]"
    if recipe.corpus.name == "mixture":
        # of speakers, those of all CREMA-D
        listed = isinstance(recipe.protocol.options["validation"], list)
        last = {"cremad": 91} if listed else {}
        items = [
            item.replace(root=str(roots(item.name, last.get(item.name)))).model_dump()
            for item in recipe.corpus.corpora
        ]
        yield f"corpus.corpora={json.dumps(items)}"
    elif recipe.corpus.name == "synthetic":
        yield from ("corpus.speakers=6", "corpus.takes=1")
    else:
        yield f"corpus.root={roots(recipe.corpus.name, 91 if path.stem == FOILED else None)}"
    if architecture == "encoder":
        yield f"model.checkpoint={encoder_folder(ENCODERS[recipe.model.checkpoint])}"
        if recipe.freeze.layers:
            yield "freeze.layers=1"  # of two
        if recipe.freeze.top_layers:
            yield "freeze.top_layers=1"
    else:
        yield from (f"model.{key}={value}" for key, value in TINY[architecture].items())
        if architecture in TRANSFERRED and recipe.model.checkpoint:
            yield f"model.checkpoint={write_published(folder / 'weights.safetensors', recipe)}"
    if recipe.training.solver == "sklearn":
        yield from (
            f"training.grid.{key}={values[:1]}" for key, values in recipe.training.grid.items()
        )
    else:
        yield from (
            "training.max_steps=2",
            "training.per_device_train_batch_size=4",
            "training.warmup_steps=0",
        )


# Each recipe, and each other checkpoint that its head names. test_multi_label_run.py trains with a
# table of votes, which cremad_multi_label needs.
TWINS = {path.stem: (path, []) for path in SHIPPED if path.stem != "cremad_multi_label"}
TWINS |= {
    found.partition("/")[2]: (path, [f"model.checkpoint={found}"])
    for path in SHIPPED
    for found in re.findall(r"model\.checkpoint=(\S+)", path.read_text(encoding="utf-8"))
}


def twin_cases():
    """The first recipe of each network runs in every suite."""
    networks = set()
    for name, (path, named) in TWINS.items():
        network = re.search(r"architecture: (\w+)", path.read_text(encoding="utf-8"))[1]
        marks = [pytest.mark.exhaustive] if network in networks else []
        networks.add(network)
        yield pytest.param(path, named, marks=marks, id=name)


@pytest.mark.slow
@pytest.mark.parametrize(("path", "named"), list(twin_cases()))
def test_the_twin_trains_and_its_model_predicts(
    path, named, roots, encoder_folder, tmp_path, caplog
):
    recipe = read_recipe(path, named)
    changes = list(smaller(path, recipe, roots, encoder_folder, tmp_path))
    with no_warning_of_a_library(caplog):
        assert str(plan_run(read_recipe(path, changes)))
        report = ser_hf.run_recipe(path, changes)
    twin = read_recipe(tmp_path / "run" / "recipe.yaml")
    # a run resolves `level: auto`
    assert twin.audio.replace(level=recipe.audio.level) == recipe.audio
    assert (twin.augment, twin.lora, twin.training.loss) == (
        recipe.augment,
        recipe.lora,
        recipe.training.loss,
    )
    assert all(np.isfinite(value) for value in report.metrics.values())
    assert (report.foil is None) == (twin.protocol.foil is None)
    model = AutoModelForAudioClassification.from_pretrained(tmp_path / "run" / "model").eval()
    assert list(model.config.id2label.values()) == report.labels
    if recipe.corpus.labels:
        assert report.labels == recipe.corpus.labels
    numbers = (
        88 if recipe.model.architecture.startswith("functionals") else recipe.audio.sampling_rate
    )
    inputs = {"input_values": torch.randn(1, numbers) * 0.1}
    if recipe.model.plan.get("checkpoint") == "openai/whisper-large-v3":  # takes spectrograms
        extractor = AutoFeatureExtractor.from_pretrained(tmp_path / "run" / "model")
        inputs = extractor(
            inputs["input_values"][0].numpy(), sampling_rate=numbers, return_tensors="pt"
        )
    with torch.no_grad():
        logits = model(**inputs).logits
    assert logits.shape == (1, len(report.labels))
    assert torch.isfinite(logits).all()
