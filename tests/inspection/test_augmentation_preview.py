"""The augmentation preview: each step at both ends, the chain as training draws it, mixup, and the command."""

import contextlib
import dataclasses
import json
import os

import numpy as np
import pytest
import soundfile
import yaml
from datasets import ClassLabel, Dataset
from support.html_page import Page

from ser_hf import cli
from ser_hf.audio import open_store
from ser_hf.audio.augmentation import (
    Augmentation,
    Augmenter,
    BackgroundNoise,
    ColoredNoise,
    Gain,
    GaussianNoise,
    Mixup,
    Reverberation,
    Speed,
    Telephone,
)
from ser_hf.inspection import augmentation_preview as module
from ser_hf.inspection.augmentation_preview import (
    RecordingAugmenter,
    pick_rows,
    range_ends,
    write_augmentation_preview,
)
from ser_hf.inspection.page import Picture
from ser_hf.training.data import Collator, TrainTransforms, part
from ser_hf.training.factory import _extractor
from ser_hf.utils.errors import UserError

pytestmark = pytest.mark.slow  # loads and prepares corpora

HOSTILE = '<script>alert(1)</script>&"$x$/../'
CHAIN = Augmentation(
    speed=Speed(0.6, [0.8, 1.25]),
    coloured_noise=ColoredNoise(0.7, [0.0, 5.0], [0.0, 2.0]),
    telephone=Telephone(0.5, ["gsm", "a_law"]),
    gain=Gain(1.0, [-6.0, 20.0]),
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
    columns = {
        "label": [0, 0, 1, 1, 0, 1, 0, 1],
        "speaker": ["a", "a", "a", "b", "b", "c", "c", "c"],
        "id": [f"{HOSTILE}{i}" for i in range(8)],
    }
    return Dataset.from_dict(columns).cast_column("label", ClassLabel(names=["angry", "<i>sad</i>"]))


@pytest.fixture(scope="module")
def written(dataset, store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out") / "page"
    more = {"examples": 2, "seed": 5, "license": ["odbl", "other"]}
    page = write_augmentation_preview(HOSTILE, CHAIN, dataset, store, range(6), folder, **more)
    assert page == folder / "index.html"
    return folder


@pytest.fixture(scope="module")
def facts(written):
    return json.loads((written / "inspect.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)


@pytest.fixture
def no_pictures(monkeypatch):
    """Drawing takes most of the time."""
    monkeypatch.setattr(module, "_mel_picture", lambda *arguments: Picture("data:,", "", 1, 1))


def facts_of(augmentation, dataset, store, rows, folder, **more):
    write_augmentation_preview("r", augmentation, dataset, store, rows, folder, examples=1, **more)
    return json.loads((folder / "inspect.json").read_text())


def test_each_clip_has_every_version(facts):
    assert set(facts) == {"format", "recipe", "augment", "sampling_rate", "seed", "examples"}
    assert set(facts["examples"][0]) == {"id", "speaker", "label", "softer_by", "versions"}
    assert set(facts["examples"][0]["versions"][0]) == {"name", "values", "seconds", "audio"}
    names = [version["name"] for version in facts["examples"][0]["versions"]]
    assert names == [
        *("original", "speed", "speed", "coloured noise", "coloured noise", "telephone", "telephone", "gain", "gain"),
        *("all steps, epoch 1", "all steps, epoch 2", "mixup in equal shares", "mixup as drawn"),
    ]
    values = [version["values"] for version in facts["examples"][0]["versions"]]
    assert values[1:9] == [
        *("factor 0.8", "factor 1.25", "SNR 0 dB, exponent 0", "SNR 5 dB, exponent 2", "gsm", "a_law"),
        *("by −6 dB", "by 20 dB"),
    ]
    assert facts["augment"]["gain"] == {"probability": 1.0, "decibels": [-6.0, 20.0]}
    assert facts["recipe"] == HOSTILE


def test_the_recordings_match_their_values(facts, written, store, dataset):
    example = facts["examples"][0]
    row = dataset["id"].index(example["id"])
    recordings = {}
    for version in example["versions"]:
        samples, rate = soundfile.read(written / version["audio"])
        assert len(samples) / rate == pytest.approx(version["seconds"])
        recordings[version["name"], version["values"]] = samples * 10 ** (example["softer_by"] / 20)
    original = recordings["original", "as used in training"]
    np.testing.assert_allclose(original, store[row], atol=3e-4)
    assert example["softer_by"] > 5, "20 dB more would clip"
    np.testing.assert_allclose(recordings["gain", "by −6 dB"], original * 10 ** (-6 / 20), atol=3e-4)
    assert len(recordings["speed", "factor 0.8"]) == pytest.approx(len(original) / 0.8, rel=0.01)


def test_the_chain_is_that_of_training(facts, written, store, dataset):
    row = dataset["id"].index(facts["examples"][0]["id"])
    transforms = TrainTransforms(Augmenter(CHAIN, 16000, store, range(6)))
    collate = Collator(store, _extractor(16000, False), 5, transforms=transforms)
    drawn = {v["name"]: v for v in facts["examples"][0]["versions"]}
    for epoch in (0, 1):
        collate.epoch.fill_(epoch)
        inputs = collate(list(part(dataset, [row], store)), training=True)["input_values"][0].numpy()
        shown = drawn[f"all steps, epoch {epoch + 1}"]
        samples, _ = soundfile.read(written / shown["audio"])
        np.testing.assert_allclose(samples * 10 ** (facts["examples"][0]["softer_by"] / 20), inputs, atol=5e-4)
        assert "gain by" in shown["values"]


def test_the_drawn_values_are_recorded():
    wave = np.sin(np.arange(8000) / 10).astype(np.float32)
    gain = RecordingAugmenter(Augmentation(gain=Gain(1.0)), 16000)
    louder = gain(wave, np.random.default_rng(0))
    decibels = 20 * np.log10(louder.std() / wave.std())
    assert gain.steps_taken == [f"gain by {decibels:.3g} dB".replace("-", "−")]
    noise = RecordingAugmenter(Augmentation(coloured_noise=ColoredNoise(1.0, [0.0, 2.0], [0.0, 2.0])), 16000)
    noisy = noise(wave, np.random.default_rng(0))
    snr = 10 * np.log10((wave**2).mean() / ((noisy - wave) ** 2).mean())
    (words,) = noise.steps_taken
    assert words.startswith(f"coloured noise SNR {snr:.2g}")
    assert ", exponent " in words


def test_mixup_names_both_clips(facts, dataset, store, tmp_path, no_pictures):
    example = facts["examples"][0]
    for version in example["versions"][-2:]:
        other = next(id for id in dataset["id"] if f"({id})" in version["values"])
        clips = [dataset["id"].index(id) for id in (example["id"], other)]
        assert dataset["speaker"][clips[0]] != dataset["speaker"][clips[1]]
        assert all(["angry", "<i>sad</i>"][dataset["label"][row]] in version["values"] for row in clips)
    assert example["versions"][-2]["values"].startswith("0.50 angry + 0.50 ")
    alone = facts_of(Augmentation(mixup=Mixup(1.0, speakers="same")), dataset, store, [0, 3], tmp_path / "page")
    values = [version["values"] for version in alone["examples"][0]["versions"][1:]]
    assert values == ["no partner among the same speakers"]


def test_the_page_is_one_file_beside_the_recordings(written, facts):
    source = (written / "index.html").read_text(encoding="utf-8")
    page = Page(source)
    assert {file.name for file in written.iterdir()} == {"index.html", "inspect.json", "audio"}
    assert not {"script", "link", "iframe", "object", "i"} & {tag for tag, _ in page.tags}
    versions = [version for example in facts["examples"] for version in example["versions"]]
    for image, player, version in zip(page.all("img"), page.all("audio"), versions, strict=True):
        assert image["src"].startswith("data:image/png;base64,")
        assert f"{version['name']}: {version['values']}" in image["alt"]
        assert (written / player["src"]).is_file()
        assert player["src"] == version["audio"]
        assert version["values"] in page.text
    assert HOSTILE in page.text
    text = " ".join(page.text.split())
    assert "in 60 % of the clips; factor 0.8 to 1.25" in text
    assert "shares from Beta(1, 1), partners: other speakers" in text
    assert "License of the corpus: odbl, its authors' own terms" in text
    assert "dB softer than in training" in text


def test_the_pictures_of_a_clip_have_one_scale(dataset, store, tmp_path, monkeypatch):
    scales = []

    def record(power, rate, maximum, seconds, alt):
        scales.append((power.max(), maximum, seconds))
        return Picture("data:,", alt, 1, 1)

    monkeypatch.setattr(module, "_mel_picture", record)
    facts_of(Augmentation(speed=Speed(1.0), gain=Gain(1.0)), dataset, store, range(6), tmp_path / "page")
    assert len({scale[1:] for scale in scales}) == 1
    assert max(power for power, *_ in scales) == scales[0][1]


def test_clips_are_of_different_labels_and_speakers(dataset, store):
    picked = pick_rows(dataset, store, range(8), 4)
    assert [dataset["label"][row] for row in picked] == [0, 1, 0, 1]
    assert len({dataset["speaker"][row] for row in picked}) == 3
    assert sorted(pick_rows(dataset, store, range(8), 20)) == list(range(7))  # not the silent one
    assert pick_rows(dataset, store, [3, 1], 1) == pick_rows(dataset, store, [1, 3], 1)
    assert pick_rows(dataset, store, [], 2) == pick_rows(dataset, store, range(8), 0) == []


def test_both_ends_of_a_step():
    assert [words for words, _ in range_ends(Gain(0.1, [0.5, 1.0]))] == ["by 0.5 dB", "by 1 dB"]
    assert [step.snr for _, step in range_ends(GaussianNoise(0.1))] == [[10.0, 10.0], [40.0, 40.0]]
    assert all(step.probability == 1 for _, step in range_ends(GaussianNoise(0.1)))
    assert [words for words, _ in range_ends(Speed(0.5, [1.1, 1.1]))] == ["factor 1.1"]
    room = range_ends(Reverberation(0.5))[1][0]
    assert room == "decay 0.8 s, direct to reverberant 15 dB"
    # A folder replaces these values.
    assert [words for words, _ in range_ends(Reverberation(0.5, folder="x"))] == [""]
    assert [words for words, _ in range_ends(BackgroundNoise(0.5, folder="x"))] == ["SNR 5 dB", "SNR 30 dB"]


def test_recordings_of_a_folder(no_pictures, dataset, store, tmp_path):
    noise = np.random.default_rng(0).standard_normal(8000)
    (tmp_path / "rooms").mkdir()
    soundfile.write(tmp_path / "rooms" / "a.wav", noise * np.exp(-np.arange(8000) / 400), 16000, subtype="FLOAT")
    step = Augmentation(reverberation=Reverberation(1.0, folder=str(tmp_path / "rooms")), oversample=True)
    facts_of(step, dataset, store, range(6), tmp_path / "page", cache_dir=str(tmp_path / "cache"))
    text = Page((tmp_path / "page" / "index.html").read_text()).text
    assert f"from {tmp_path / 'rooms'}" in text
    assert "Clips of rarer classes are repeated" in text
    assert "No license is stated" in text
    missing = dataclasses.replace(step, reverberation=Reverberation(1.0, folder=str(tmp_path / "nowhere")))
    with pytest.raises(UserError, match=r"augment\.reverberation\.folder: .*No such file"):
        facts_of(missing, dataset, store, range(6), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_sampling_rate_too_low_for_the_pictures_is_refused(no_pictures, dataset, tmp_path):
    sources = []
    for i in range(8):
        path = tmp_path / f"{i}.wav"
        soundfile.write(path, np.random.default_rng(i).uniform(-0.5, 0.5, 1000), 4000)
        sources.append({"path": str(path), "bytes": None})
    too_low = open_store(sources, 2999, tmp_path / "cache")
    with pytest.raises(UserError, match=r"audio\.sampling_rate: expected 3000 Hz or more for the page, got 2999"):
        facts_of(CHAIN, dataset, too_low, range(6), tmp_path / "page")


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


def test_the_command_shows_training_clips_only(no_pictures, recipe, tmp_path, capsys, monkeypatch):
    from ser_hf.experiment.data import load_experiment_data
    from ser_hf.experiment.recipe_checks import read_recipe

    monkeypatch.chdir(tmp_path)
    overrides = ["augment.speed.probability=0.3", "training.seeds=[9]", "corpus.takes=2"]
    assert cli.main(["inspect", "--augment", str(recipe), "--examples=99", *overrides]) == 0
    assert "page: inspect-tiny-augment/index.html" in capsys.readouterr().out
    facts = json.loads((tmp_path / "inspect-tiny-augment" / "inspect.json").read_text())
    assert (facts["seed"], facts["sampling_rate"]) == (9, 8000)
    assert {"speed", "gain"} <= {version["name"] for version in facts["examples"][0]["versions"]}
    material = load_experiment_data(read_recipe(recipe, overrides))
    train = {material.dataset["id"][row] for row in material.folds[0].split.rows["train"]}
    assert {clip["id"] for clip in facts["examples"]} == train
    assert len(train) < len(material.dataset)


def test_mistakes_are_one_line(recipe, tmp_path, capsys):
    assert "nowhere.yaml" in error(capsys, "--augment", tmp_path / "nowhere.yaml")
    nothing = error(capsys, "--augment", recipe, "augment.gain.probability=0")
    assert "changes no clip; add a step, such as augment.speed.probability=0.5" in nothing
    (tmp_path / "noises").mkdir()
    with contextlib.suppress(OSError):  # a file system with UTF-8 names only
        soundfile.write(tmp_path / "a.wav", np.zeros(100), 16000)
        os.rename(tmp_path / "a.wav", os.fsdecode(os.fsencode(tmp_path / "noises") + b"/b\xe9.wav"))
        noise = f"augment.background_noise={{probability: 1, folder: '{tmp_path / 'noises'}'}}"
        output = f"--output={tmp_path / 'page'}"
        assert r"b\xe9.wav: its name is not UTF-8" in error(capsys, "--augment", recipe, noise, output)
    assert "augment.gain.loudness: unknown key" in error(capsys, "--augment", recipe, "augment.gain.loudness=1")
    assert "an override reads section.key=value" in error(capsys, "--augment", recipe, "nonsense")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("precious")
    assert "contains thesis.tex" in error(capsys, "--augment", recipe, "--output", tmp_path / "thesis")
