"""The augmentation preview: single steps, all steps as in training, and the command."""

import json

import numpy as np
import pytest
import soundfile
import yaml
from datasets import ClassLabel, Dataset
from support.close import assert_near
from support.html_page import Page

from ser_hf import cli
from ser_hf.audio import open_store
from ser_hf.audio.augmentation import Augmentation, Augmenter, Gain, Mixup, Speed, Telephone
from ser_hf.inspection.augmentation_preview import pick_rows, write_augmentation_preview
from ser_hf.training.data import Collator, TrainTransforms, part
from ser_hf.training.factory import _extractor

pytestmark = pytest.mark.slow  # loads and prepares corpora

HOSTILE = '<script>alert(1)</script>&"$x$/../'
CHAIN = Augmentation(
    speed=Speed(0.6, [0.8, 1.25]),
    telephone=Telephone(0.5, ["gsm", "a_law"]),
    gain=Gain(1.0, [6.0, 20.0]),
    mixup=Mixup(0.5, 1.0, "other"),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Eight tones of half a second or more, the last one silent."""
    folder, sources = tmp_path_factory.mktemp("tones"), []
    for i in range(8):
        time = np.arange(8000 + 500 * i) / 16000
        soundfile.write(folder / f"{i}.wav", (i < 7) * 0.3 * np.sin(2 * np.pi * (200 + 90 * i) * time), 16000)
        sources.append({"path": str(folder / f"{i}.wav"), "bytes": None})
    return open_store(sources, 16000, folder)


@pytest.fixture(scope="module")
def dataset():
    columns = {"label": [0, 0, 1, 1, 0, 1, 0, 1], "speaker": [*"aaabbccc"], "id": [f"{HOSTILE}{i}" for i in range(8)]}
    return Dataset.from_dict(columns).cast_column("label", ClassLabel(names=["angry", "<i>sad</i>"]))


@pytest.fixture(scope="module")
def written(dataset, store, tmp_path_factory):
    folder, augmenter = tmp_path_factory.mktemp("out") / "page", Augmenter(CHAIN, 16000)
    more = {"examples": 2, "seed": 5, "license": ["odbl", "other"]}
    assert (
        write_augmentation_preview(HOSTILE, augmenter, dataset, store, range(6), folder, **more)
        == folder / "index.html"
    )
    return folder


@pytest.fixture(scope="module")
def facts(written):
    return json.loads((written / "inspect.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)


def test_the_json_has_the_settings_and_the_clips(facts):
    assert set(facts) == {"format", "recipe", "augment", "sampling_rate", "seed", "examples"}
    assert facts["augment"]["gain"] == {"probability": 1.0, "decibels": [6.0, 20.0]}
    assert (facts["recipe"], facts["seed"]) == (HOSTILE, 5)
    assert [clip["label"] for clip in facts["examples"]] == ["angry", "<i>sad</i>"]


def test_the_page_has_a_picture_and_a_player_for_each_step(written):
    page = Page((written / "index.html").read_text(encoding="utf-8"))
    assert {file.name for file in written.iterdir()} == {"index.html", "inspect.json", "audio"}
    assert not {"script", "link", "iframe", "object", "i"} & {tag for tag, _ in page.tags}
    names = ("original", "speed", "telephone", "gain", "all steps")
    for name, image, player in zip(names * 2, page.all("img"), page.all("audio"), strict=True):
        assert image["src"].startswith("data:image/png;base64,")
        assert f", {name};" in image["alt"]
        assert (written / player["src"]).is_file()
    assert HOSTILE in page.text
    text = " ".join(page.text.split())
    assert "in 60 % of the clips; factor 0.8 to 1.25" in text
    assert "in 50 % of the clips; codecs gsm, a_law" in text
    assert "mixup in 50 % of the clips" in text
    assert "License of the corpus: odbl, terms of its authors" in text


def test_the_recordings_are_those_of_training(written, facts, store, dataset):
    row = dataset["id"].index(facts["examples"][0]["id"])
    original, _ = soundfile.read(written / "audio" / "01_00.wav")
    assert_near(original, store[row])
    louder, _ = soundfile.read(written / "audio" / "01_03.wav")
    ratio = louder.std() / original.std()
    assert 10 ** (6 / 20) <= ratio <= 10 ** (20 / 20)
    transforms = TrainTransforms(Augmenter(CHAIN, 16000))
    collate = Collator(store, _extractor(16000, False), 5, transforms=transforms)
    inputs = collate(list(part(dataset, [row], store)), training=True)["input_values"][0].numpy()
    together, _ = soundfile.read(written / "audio" / "01_04.wav")
    assert_near(together, inputs)


def test_clips_alternate_between_labels(dataset, store):
    picked = pick_rows(dataset, store, range(8), 4)
    assert [dataset["label"][row] for row in picked] == [0, 1, 0, 1]
    assert sorted(pick_rows(dataset, store, range(8), 20)) == list(range(7))  # not the silent one
    assert pick_rows(dataset, store, [3, 1], 1) == pick_rows(dataset, store, [1, 3], 1)
    assert pick_rows(dataset, store, [], 2) == pick_rows(dataset, store, range(8), 0) == []


# The command


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipes") / "tiny.yaml"
    values = {
        "corpus": {"name": "synthetic", "speakers": 6, "takes": 1},
        "protocol": {"validation": 0.2},
        "audio": {"sampling_rate": 8000},
        "model": {"architecture": "crnn"},
        "augment": {"gain": {"probability": 0.5}},
        "training": {"seeds": [4]},
    }
    path.write_text(yaml.safe_dump(values))
    return path


def error(capsys, *arguments):
    assert cli.main(["inspect", *map(str, arguments)]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def test_the_command_shows_training_clips_only(recipe, tmp_path, capsys, monkeypatch):
    from ser_hf.experiment.data import load_experiment_data
    from ser_hf.experiment.recipe_checks import read_recipe

    monkeypatch.chdir(tmp_path)
    overrides = ["augment.speed.probability=0.3", "training.seeds=[9]", "corpus.speakers=4"]
    assert cli.main(["inspect", "--augment", str(recipe), "--examples=99", *overrides]) == 0
    assert "page: inspect-tiny-augment/index.html" in capsys.readouterr().out
    facts = json.loads((tmp_path / "inspect-tiny-augment" / "inspect.json").read_text())
    assert (facts["seed"], facts["sampling_rate"]) == (9, 8000)
    data = load_experiment_data(read_recipe(recipe, overrides))
    train = {data.dataset["id"][row] for row in data.folds[0].split.rows["train"]}
    assert {clip["id"] for clip in facts["examples"]} == train
    assert len(train) < len(data.dataset)


def test_mistakes_print_one_line(recipe, tmp_path, capsys):
    assert "nowhere.yaml" in error(capsys, "--augment", tmp_path / "nowhere.yaml")
    nothing = error(capsys, "--augment", recipe, "augment.gain.probability=0")
    assert "changes no clip; add a step, such as augment.speed.probability=0.5" in nothing
    assert "augment.gain.loudness: unknown key" in error(capsys, "--augment", recipe, "augment.gain.loudness=1")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("precious")
    assert "contains thesis.tex" in error(capsys, "--augment", recipe, "--output", tmp_path / "thesis")
