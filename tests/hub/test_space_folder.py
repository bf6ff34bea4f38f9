"""The Space: what its files say of a model, and what its page answers where ser_hf is not."""

import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from huggingface_hub import SpaceCard
from isolated import run_without_ser_hf
from packaging.requirements import Requirement
from tiny_model import REPORT, tiny_model

from ser_hf.corpora import corpus_facts
from ser_hf.errors import UserError
from ser_hf.hub.space import write_space

ROOT = Path(__file__).parents[2]
LEAK = "Test speakers are heard in training."


def test_its_card_says_what_the_hub_needs_to_run_it(tmp_path):
    folder = write_space(tmp_path / "space", "tester/voices", report=REPORT, corpus=corpus_facts("ravdess", {}))
    names = {path.name for path in folder.iterdir()}
    assert names == {"app.py", "requirements.txt", "README.md", "facts.json"}
    card = SpaceCard.load(folder / "README.md")
    assert (card.data.sdk, card.data.app_file, card.data.models) == ("gradio", "app.py", ["tester/voices"])
    assert len(card.data.to_dict()["short_description"]) <= 60
    assert "[tester/voices](https://huggingface.co/tester/voices)" in card.text
    assert "None" not in card.content
    wanted = {one.name: one.specifier for one in map(Requirement, (folder / "requirements.txt").read_text().split())}
    assert wanted["gradio"].contains(card.data.sdk_version)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ours = map(Requirement, [*project["dependencies"], *project["optional-dependencies"]["demo"]])
    assert wanted == {one.name: one.specifier for one in ours if one.name in wanted}


def test_it_tells_how_good_a_model_is_and_what_it_is_not_for(tmp_path):
    protocol = REPORT["protocol"] | {"name": "random", "leak": LEAK}
    folder = write_space(
        tmp_path / "space",
        "tester/voices",
        report=REPORT | {"protocol": protocol},
        corpus=corpus_facts("ravdess", {}),
        report_page="https://huggingface.co/datasets/tester/voices-report",
    )
    facts = json.loads((folder / "facts.json").read_text())
    assert facts["headline"] == (
        "UAR 0.512 (95 % interval 0.431 to 0.590), macro-F1 0.498 on test clips of speakers heard before "
        "(protocol random)."
    )
    assert facts["leak"] == f"Judged under a leaky protocol (random). {LEAK}"
    limits = " ".join(facts["limits"])
    for words in ("acted emotions of 2 speakers", "article 5(1)(f)", "forbids commercial use"):
        assert words in limits
    assert list(facts["links"].values()) == [
        "https://huggingface.co/tester/voices",
        "https://huggingface.co/datasets/tester/voices-report",
    ]
    card = (folder / "README.md").read_text()
    assert all(text in card for text in (facts["leak"], facts["headline"], *facts["limits"]))


def test_of_a_model_of_others_it_claims_nothing(tmp_path):
    facts = json.loads((write_space(tmp_path / "space", "someone/else") / "facts.json").read_text())
    assert (facts["title"], facts["headline"], facts["leak"]) == ("else", None, None)
    assert facts["limits"][0] == "Its own card says what it learnt from, and how good it is."


def test_it_replaces_a_space_and_nothing_else(tmp_path):
    clip = tmp_path / "my voice.wav"
    soundfile.write(clip, np.zeros(16000), 16000)
    folder = write_space(tmp_path / "space", "tester/voices", examples=[clip])
    assert [path.name for path in (folder / "examples").iterdir()] == ["1 my voice.wav"]
    write_space(folder, "tester/voices")
    assert not (folder / "examples").exists()
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.tex").touch()
    with pytest.raises(UserError, match="holds files that are no Space's"):
        write_space(tmp_path / "work", "tester/voices")
    for wrong, told in ((tmp_path / "gone.wav", "no such file"), (tmp_path / "work" / "thesis.tex", "is one of .wav")):
        with pytest.raises(UserError, match=told):
            write_space(tmp_path / "other", "tester/voices", examples=[wrong])
    assert not (tmp_path / "other").exists()


ANSWERS = """
import json, runpy
import numpy as np, soundfile

app = runpy.run_path("space/app.py")
inside = app["hear"].__globals__
told = {name: app["hear"](f"{name}.wav") for name in ("short", "long", "text", "empty", "tenth", "silent", "nan")}
told["nothing"] = app["hear"](None)
inside["FIXED"] = 1.0
told["fixed"] = app["hear"]("short.wav")
inside |= {"FIXED": None, "LONGEST": 4.0, "EVERY": 1e9}  # however slow this machine is
told["first"] = app["hear"]("long.wav")

speech, rate = soundfile.read("long.wav")
speech = np.round(speech * 32767).astype(np.int16)
pieces, state = [*speech[: 5 * rate].reshape(10, -1), *np.zeros((8, rate // 2), np.int16)], None
passing, bounds = [], []
for piece in (*pieces, *(speech[: rate // 2],) * 250):
    state, now, strips = app["listen"]((rate, np.stack([piece, piece], axis=1)), state)
    passing.append((now, strips))
    bounds.append((len(state["samples"]), len(state["answers"])))
told["passing"], told["bounds"] = passing[:19], [max(numbers) for numbers in zip(*bounds)]

asked = []
def slow(clips):
    import time
    asked.append(1)
    time.sleep(0.22)
    yield np.full(len(app["LABELS"]), 0.25)
inside |= {"ask": slow, "EVERY": 0.1}
state = None
for piece in pieces[:8]:
    state, _, _ = app["listen"]((rate, piece), state)
told["asked"], told["samples"] = len(asked), len(state["samples"]) / rate
print(json.dumps(told))
"""


def values(html):
    return {label: float(value) for label, value in re.findall(r'label">(\w+)<.*?value">([\d.]+)<', html)}


@pytest.mark.slow  # imports gradio, and torch, once more
def test_its_page_answers_as_the_pipeline_does_without_ser_hf(tmp_path):
    """Uploads whole and in windows, bad ones, and a microphone whose session must not grow."""
    pytest.importorskip("gradio")
    classifier = tiny_model(tmp_path / "model")
    generator = np.random.default_rng(0)
    sweep = np.sin(np.cumsum(np.linspace(0.05, 0.9, 6 * 16000))) * np.repeat([0.6, 0.02, 0.3], 2 * 16000)
    clip = (sweep + 0.05 * generator.standard_normal(len(sweep))).astype(np.float32) / 2
    written = {"long": clip, "short": clip[:24000], "empty": clip[:0], "tenth": clip[:1000], "silent": 0 * clip}
    for name, samples in (written | {"nan": np.where(clip > 0.3, np.nan, clip)}).items():
        soundfile.write(tmp_path / f"{name}.wav", samples, 16000, subtype="FLOAT")
    (tmp_path / "text.wav").write_text("not audio")
    write_space(tmp_path / "space", str(tmp_path / "model"), trust_remote_code=True, window=2.0)
    told = json.loads(run_without_ser_hf(ANSWERS, tmp_path).splitlines()[-1])

    def expected(*clips):
        answers = [{row["label"]: row["score"] for row in classifier(piece, top_k=None)} for piece in clips]
        return {label: pytest.approx(np.mean([one[label] for one in answers]), abs=6e-4) for label in answers[0]}

    whole, over_time = told["short"]
    assert values(whole) == expected(clip[:24000])
    assert "1.5 s, heard whole" in whole
    assert over_time == ""
    windows = [clip[start : start + 32000] for start in range(0, 64001, 16000)]
    mean, over_time = told["long"]
    assert values(mean) == expected(*windows)
    assert "6 s, mean of 5 windows of 2 s" in mean
    # Borders lie halfway between the middles of windows: the second begins at 1.5 s of 6.
    steps = re.findall(r"M([\d.]+) 1V([\d.]+)H([\d.]+)V1Z", over_time)[:5]
    assert [(float(begin), float(end)) for begin, _, end in steps] == [
        (0, 250),
        (250, 416.7),
        (416.7, 583.3),
        (583.3, 750),
        (750, 1000),
    ]
    first = next(iter(classifier.model.config.id2label.values()))
    for (_, height, _), piece in zip(steps, windows, strict=True):
        assert 1 - float(height) == expected(piece)[first]
    assert "the first 1 s of 1.5 s" in told["fixed"][0]
    assert "of the first 4 s alone" in told["first"][0]
    for name, words in {
        "text": "no recording that can be read",
        "empty": "empty",
        "tenth": "shorter than 0.1 s",
        "silent": "silent",
        "nan": "no numbers",
    }.items():
        assert words in told[name][0], name
        assert told[name][1] == ""
    assert told["nothing"] == ["", ""]

    passing = told["passing"]
    assert values(passing[9][0]) == expected(np.round(clip[3 * 16000 : 5 * 16000] * 32767) / 32767)
    assert "Nobody speaks." in passing[13][0], "2 s after the last word, its window is empty"
    assert "Nobody speaks." not in passing[18][0]
    assert passing[13][1].count("M") == 4 * 13, "no answer, nothing drawn"
    assert told["bounds"] == [32000, 241], "one window, and 120 s of answers"
    assert (told["asked"], told["samples"]) == (3, 2.0), "a slow model is asked each third time, and misses nothing"
