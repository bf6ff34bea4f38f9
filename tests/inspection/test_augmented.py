"""The page of a recipe's augmentation: each step at both ends, the chain as training draws it, a mixed pair."""

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
    BackgroundNoise,
    BandLimit,
    ColouredNoise,
    Crop,
    Gain,
    GaussianNoise,
    Mixup,
    Reverberation,
    Speed,
    Telephone,
)
from ser_hf.audio.augmenting import Augmenter
from ser_hf.errors import UserError
from ser_hf.inspection.augmented import Telling, ends, pick_rows, write_augmented
from ser_hf.inspection.page import Picture
from ser_hf.training.batches import Changes, Collator, part
from ser_hf.training.build import _extractor

pytestmark = pytest.mark.slow  # whole runs

HOSTILE = '<script>alert(1)</script>&"$x$/../'
CHAIN = Augmentation(
    speed=Speed(0.6, [0.8, 1.25]),
    coloured_noise=ColouredNoise(0.7, [0.0, 5.0], [0.0, 2.0]),
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
    licence = {"license": ["odbl", "other"]}
    assert write_augmented(HOSTILE, CHAIN, dataset, store, range(6), folder, 2, 5, licence) == folder / "index.html"
    return folder


@pytest.fixture(scope="module")
def facts(written):
    return json.loads((written / "inspect.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)


@pytest.fixture(scope="module")
def page(written):
    return Page((written / "index.html").read_text(encoding="utf-8"))


def test_each_clip_has_every_version(facts):
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


def test_what_is_played_is_what_the_values_say(facts, written, store, dataset):
    example = facts["examples"][0]
    row = dataset["id"].index(example["id"])
    played = {}
    for version in example["versions"]:
        samples, rate = soundfile.read(written / version["audio"])
        assert rate == 16000
        assert len(samples) / rate == pytest.approx(version["seconds"])
        played[version["name"], version["values"]] = samples * 10 ** (example["softer_by"] / 20)
    original = played["original", "as the training reads it"]
    np.testing.assert_allclose(original, store[row], atol=3e-4)
    assert example["softer_by"] > 5, "20 dB more would be cut off at full scale"
    np.testing.assert_allclose(played["gain", "by −6 dB"], original * 10 ** (-6 / 20), atol=3e-4)
    assert len(played["speed", "factor 0.8"]) == pytest.approx(len(original) / 0.8, rel=0.01)


def test_the_chain_is_the_training_s(facts, written, store, dataset):
    row = dataset["id"].index(facts["examples"][0]["id"])
    changes = Changes(Augmenter(CHAIN, 16000, store, range(6)))
    collate = Collator(store, _extractor(16000, False), 5, changes=changes)
    drawn = {v["name"]: v for v in facts["examples"][0]["versions"]}
    for epoch in (0, 1):
        collate.epoch.fill_(epoch)
        heard = collate(list(part(dataset, [row], store)), training=True)["input_values"][0].numpy()
        shown = drawn[f"all steps, epoch {epoch + 1}"]
        samples, _ = soundfile.read(written / shown["audio"])
        np.testing.assert_allclose(samples * 10 ** (facts["examples"][0]["softer_by"] / 20), heard, atol=5e-4)
        assert "gain by" in shown["values"]


def test_what_is_told_of_a_draw_is_what_was_drawn():
    wave = np.sin(np.arange(8000) / 10).astype(np.float32)
    gain = Telling(Augmentation(gain=Gain(1.0)), 16000)
    gain.told = []
    louder = gain(wave, np.random.default_rng(0))
    decibels = 20 * np.log10(louder.std() / wave.std())
    assert gain.told == [("gain", f"by {decibels:.3g} dB".replace("-", "−"))]
    alike = Telling(Augmentation(coloured_noise=ColouredNoise(1.0, [0.0, 2.0], [0.0, 2.0])), 16000)
    alike.told = []
    noisy = alike(wave, np.random.default_rng(0))
    ((_, values),) = alike.told
    snr, exponent = (float(words.split()[1]) for words in values.split(", "))
    assert values == f"SNR {snr:.3g} dB, exponent {exponent:.3g}"
    ratio = 10 * np.log10((wave**2).mean() / ((noisy - wave) ** 2).mean())
    assert snr == pytest.approx(ratio, abs=0.01)
    assert abs(exponent - snr) > 0.01
    telephone = Telling(Augmentation(telephone=Telephone(1.0)), 16000)
    for seed in range(4):
        telephone.told = []
        own = telephone(wave, np.random.default_rng(seed))
        ((_, codec),) = telephone.told
        alone = Augmenter(Augmentation(telephone=Telephone(1.0, [codec])), 16000)
        np.testing.assert_array_equal(own, alone.apply("telephone", wave, np.random.default_rng(0)))


def test_a_mixture_names_both_of_its_clips(facts, dataset, written):
    example = facts["examples"][0]
    for version in example["versions"][-2:]:
        other = next(id for id in dataset["id"] if f"({id})" in version["values"])
        clips = [dataset["id"].index(id) for id in (example["id"], other)]
        assert dataset["speaker"][clips[0]] != dataset["speaker"][clips[1]]
        assert all(["angry", "<i>sad</i>"][dataset["label"][row]] in version["values"] for row in clips)
    assert example["versions"][-2]["values"].startswith("0.50 angry + 0.50 ")


def test_who_has_no_partner_is_told_so(no_pictures, dataset, store, tmp_path):
    alone = Augmentation(mixup=Mixup(1.0, speakers="same"))
    write_augmented("r", alone, dataset, store, [0, 3], tmp_path / "page", examples=1)
    facts = json.loads((tmp_path / "page" / "inspect.json").read_text())
    assert [v["values"] for v in facts["examples"][0]["versions"][1:]] == ["no partner among the same speakers"]


def test_the_page_is_complete_described_and_asks_nobody(page, written, facts):
    sources = [attributes["src"] for _, attributes in page.tags if "src" in attributes]
    assert len(sources) == 2 * 2 * 13
    assert all((written / source).is_file() for source in sources)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert {file.name for file in written.iterdir()} == {"index.html", "inspect.json", "pictures", "audio"}
    versions = [version for example in facts["examples"] for version in example["versions"]]
    for image, player, version in zip(page.all("img"), page.all("audio"), versions, strict=True):
        assert version["name"] in image["alt"]
        assert version["values"] in image["alt"]
        assert "controls" in player
        assert version["name"] in player["aria-label"]
        assert version["values"] in page.text
    assert "prefers-color-scheme: dark" in page.text
    text = " ".join(page.text.split())
    assert "in 60 % of the clips; factor 0.8 to 1.25" in text
    assert "shares from Beta(1, 1), partners: other speakers" in text
    assert "Licence of the corpus: odbl, its makers' own terms" in text
    assert "dB softer than the training hears them" in text


def test_names_are_text_and_nothing_else(page, written):
    assert HOSTILE in page.text
    assert "<i>sad</i>" in page.text
    source = (written / "index.html").read_text(encoding="utf-8")
    assert "<script" not in source
    assert "<i>" not in source


def test_the_pictures_of_a_clip_have_one_scale(dataset, store, tmp_path, monkeypatch):
    asked = []
    module = "ser_hf.inspection.augmented.mel_figure"
    from ser_hf.inspection.pictures import mel_figure

    def note(power, rate, loudest, seconds):
        asked.append((power.max(), loudest, seconds))
        figure = mel_figure(power, rate, loudest, seconds)
        assert figure.axes[0].images[0].get_clim() == (-80, 0)
        assert figure.axes[0].get_xlim() == (0, seconds)
        return figure

    monkeypatch.setattr(module, note)
    gain = Augmentation(speed=Speed(1.0), gain=Gain(1.0, [-6.0, 6.0]))
    write_augmented("r", gain, dataset, store, range(6), tmp_path / "page", examples=1)
    assert len({(loudest, seconds) for _, loudest, seconds in asked}) == 1
    assert max(loudest for loudest, *_ in asked) == asked[0][1]
    assert len({loudest for loudest, *_ in asked}) > 3


def test_clips_are_picked_over_labels_and_speakers_and_never_silent(dataset, store):
    picked = pick_rows(dataset, store, range(8), 4)
    assert [dataset["label"][row] for row in picked] == [0, 1, 0, 1]
    assert len({dataset["speaker"][row] for row in picked}) == 3
    assert 7 not in pick_rows(dataset, store, range(8), 20)
    assert len(pick_rows(dataset, store, range(8), 20)) == 7
    assert pick_rows(dataset, store, [3, 1], 1) == pick_rows(dataset, store, [1, 3], 1)
    assert pick_rows(dataset, store, [], 2) == pick_rows(dataset, store, range(8), 0) == []


def test_both_ends_of_a_step():
    assert [words for words, _ in ends(Crop(0.1, [0.5, 1.0]))] == ["share 50 %", "share 100 %"]
    assert [step.snr for _, step in ends(GaussianNoise(0.1))] == [[10.0, 10.0], [40.0, 40.0]]
    assert all(step.probability == 1 for _, step in ends(GaussianNoise(0.1)))
    assert [words for words, _ in ends(Speed(0.5, [1.1, 1.1]))] == ["factor 1.1"]
    assert [words for words, _ in ends(Reverberation(0.5))] == [
        "decay 0.1 s, direct to reverberant 0 dB",
        "decay 0.8 s, direct to reverberant 15 dB",
    ]
    # A folder's responses have no values of ours.
    assert [words for words, _ in ends(Reverberation(0.5, folder="x"))] == [""]
    assert [words for words, _ in ends(BackgroundNoise(0.5, folder="x"))] == ["SNR 5 dB", "SNR 30 dB"]


def test_recordings_of_a_folder_are_heard(no_pictures, dataset, store, tmp_path):
    noise = np.random.default_rng(0).standard_normal(8000)
    (tmp_path / "rooms").mkdir()
    soundfile.write(tmp_path / "rooms" / "a.wav", noise * np.exp(-np.arange(8000) / 400), 16000, subtype="FLOAT")
    step = Augmentation(reverberation=Reverberation(1.0, folder=str(tmp_path / "rooms")), oversample=True)
    write_augmented("r", step, dataset, store, range(6), tmp_path / "page", 1, cache_dir=str(tmp_path / "cache"))
    text = Page((tmp_path / "page" / "index.html").read_text()).text
    assert f"from {tmp_path / 'rooms'}" in text
    assert "Clips of rarer classes are repeated" in text
    assert "No licence is stated" in text
    missing = dataclasses.replace(step, reverberation=Reverberation(1.0, folder=str(tmp_path / "nowhere")))
    with pytest.raises(UserError, match=r"augment\.reverberation\.folder: .*no such folder"):
        write_augmented("r", missing, dataset, store, range(6), tmp_path / "other", 1)
    assert not (tmp_path / "other").exists()


def test_bands_are_shown_as_far_as_the_sampling_rate_goes(no_pictures, dataset, tmp_path):
    sources = []
    for i in range(8):
        path = tmp_path / f"{i}.wav"
        soundfile.write(path, np.random.default_rng(i).uniform(-0.5, 0.5, 1000), 4000)
        sources.append({"path": str(path), "bytes": None})
    slow = open_store(sources, 4000, tmp_path / "cache")
    band = Augmentation(band_limit=BandLimit(1.0))
    write_augmented("r", band, dataset, slow, range(6), tmp_path / "page", 1)
    facts = json.loads((tmp_path / "page" / "inspect.json").read_text())
    ends = [version["values"] for version in facts["examples"][0]["versions"][1:3]]
    assert ends == ["low 20 Hz, high 2000 Hz", "low 300 Hz, high 2000 Hz"]
    assert "high 2000 to 2000 Hz" in Page((tmp_path / "page" / "index.html").read_text()).text
    assert facts["augment"]["band_limit"]["high"] == [2000, 2000]


def test_a_sampling_rate_without_pictures_is_refused(dataset, store, tmp_path, recipe, capsys):
    lowest = type("Low", (), {"sampling_rate": 2999})()
    with pytest.raises(UserError, match=r"audio\.sampling_rate: expected 3000 Hz or more for the page, got 2999"):
        write_augmented("r", CHAIN, dataset, lowest, range(6), tmp_path / "page", 1)
    told = complaint(capsys, "--augment", recipe, "audio.sampling_rate=7", f"--output={tmp_path / 'page'}")
    assert told == "error: audio.sampling_rate: expected 3000 Hz or more for the page, got 7"
    lowest = ["audio.sampling_rate=3000", "--examples=1", f"--output={tmp_path / 'page'}"]
    assert cli.main(["inspect", "--augment", str(recipe), *lowest]) == 0
    assert len(list((tmp_path / "page" / "pictures").iterdir())) > 2


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


@pytest.fixture
def no_pictures(monkeypatch):
    """Drawing takes most of the time."""
    draw = "ser_hf.inspection.augmented.save_picture"
    monkeypatch.setattr(draw, lambda folder, stem, figure, alt: Picture(stem, f"pictures/{stem}.png", alt, 1, 1))
    monkeypatch.setattr("ser_hf.inspection.augmented.mel_figure", lambda *arguments: None)


def complaint(capsys, *arguments):
    assert cli.main(["inspect", *map(str, arguments)]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def test_the_command_writes_it_in_its_default_place(no_pictures, recipe, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    overrides = ["augment.speed.probability=0.3", "training.seeds=[9]", "corpus.takes=2"]
    assert cli.main(["inspect", "--augment", str(recipe), "--examples=1", *overrides]) == 0
    assert "hear it: inspect-tiny-augment/index.html" in capsys.readouterr().out
    facts = json.loads((tmp_path / "inspect-tiny-augment" / "inspect.json").read_text())
    assert (facts["seed"], facts["sampling_rate"], len(facts["examples"])) == (9, 8000, 1)
    assert {"speed", "gain"} <= {version["name"] for version in facts["examples"][0]["versions"]}


def test_only_training_clips_are_shown(no_pictures, recipe, tmp_path):
    from ser_hf.material import gather
    from ser_hf.recipe import read_recipe

    assert cli.main(["inspect", f"--augment={recipe}", "--examples=99", f"--output={tmp_path / 'page'}"]) == 0
    material = gather(read_recipe(recipe))
    train = {material.dataset["id"][row] for row in material.folds[0].split.rows["train"]}
    facts = json.loads((tmp_path / "page" / "inspect.json").read_text())
    assert {clip["id"] for clip in facts["examples"]} == train
    assert len(train) < len(material.dataset)


def test_mistakes_are_one_line(recipe, tmp_path, capsys):
    assert "nowhere.yaml" in complaint(capsys, "--augment", tmp_path / "nowhere.yaml")
    nothing = complaint(capsys, "--augment", recipe, "augment.gain.probability=0")
    for folder in (tmp_path, ""):
        assert f"--augment: {str(folder)!r} is a folder; name a recipe's file" in complaint(
            capsys, "--augment", folder
        )
    assert "--no-near-copies: of no use with --augment" in complaint(capsys, "--augment", recipe, "--no-near-copies")
    (tmp_path / "noises").mkdir()
    name = os.fsdecode(os.fsencode(tmp_path / "noises") + b"/b\xe9.wav")
    with contextlib.suppress(OSError):  # a file system that takes UTF-8 only
        soundfile.write(tmp_path / "a.wav", np.zeros(100), 16000)
        os.rename(tmp_path / "a.wav", name)
        noise = f"augment.background_noise={{probability: 1, folder: '{tmp_path / 'noises'}'}}"
        output = f"--output={tmp_path / 'page'}"
        assert r"b\xe9.wav: its name is not UTF-8" in complaint(capsys, "--augment", recipe, noise, output)
    assert "changes no clip; add a step, such as augment: {speed: {probability: 0.5}}" in nothing
    assert "augment.speed.probability=0.5 here" in nothing
    only = complaint(capsys, "--augment", recipe, "augment={oversample: true}")
    assert "only repeats clips (oversample)" in only
    assert "augment.gain.loudness: unknown key" in complaint(capsys, "--augment", recipe, "augment.gain.loudness=1")
    assert "an override reads section.key=value" in complaint(capsys, "--augment", recipe, "nonsense")
    assert "--examples: expected zero or more" in complaint(capsys, "--augment", recipe, "--examples=-1")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("precious")
    own = complaint(capsys, "--augment", recipe, "--output", tmp_path / "thesis")
    assert "holds files that are not an inspection's" in own
    (tmp_path / "file").write_text("x")
    assert "cannot be made" in complaint(capsys, "--augment", recipe, "--output", tmp_path / "file" / "page")
    assert "corpus: missing" in complaint(capsys, "--examples=1")
