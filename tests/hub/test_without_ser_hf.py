"""Without ser_hf: the page of a Space has the predictions of the pipeline, and the snippets of a
card work; tests/experiment/test_end_to_end.py runs those of complete runs."""

import json
import re

import numpy as np
import pytest
import soundfile
import torch
from support.isolated import run_without_ser_hf
from support.reports import whole_report
from support.testing import write_checkpoint
from support.tiny_model import tiny_model
from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForAudioClassification

from ser_hf.hub.space import Demo, write_space
from ser_hf.report.card import model_card
from ser_hf.report.report import Report
from ser_hf.training.lora import Lora, add_lora, merged, save_adapter

pytestmark = pytest.mark.slow
LABELS = ["angry", "happy", "sad"]
COMPARE = """
import json
from transformers import AutoFeatureExtractor
extractor = AutoFeatureExtractor.from_pretrained("adapted")
inputs = extractor(audio, sampling_rate=16000, return_tensors="pt")
print("logits", json.dumps(model.eval()(**inputs).logits.tolist()))
"""
PREDICTIONS = """
import json, runpy, sys
import numpy as np, soundfile

sys.path.insert(0, "space")
app = runpy.run_path("space/app.py")
inside = app["predict"].__globals__
names = ("short", "long", "text", "empty", "tenth", "silent", "nan")
content = {name: app["predict"](f"{name}.wav", None, "windows") for name in names}
content["turns"] = app["predict"]("long.wav", "turns.rttm")
content["wrong turns"] = app["predict"]("long.wav", "wrong.rttm")
inside["THRESHOLD"] = 0.999
content["unknown"] = app["predict"]("long.wav", "turns.rttm")
inside["THRESHOLD"] = None
content["nothing"] = app["predict"](None)
inside["FIXED"] = 1.0
content["fixed"] = app["predict"]("short.wav")
inside |= {"FIXED": None, "LONGEST": 4.0, "SHOWN": 20, "EVERY": 1e9}  # however slow this machine is
content["first"] = app["predict"]("long.wav")

speech, rate = soundfile.read("long.wav")
speech = np.round(speech * 32767).astype(np.int16)
pieces, state = [*speech[: 5 * rate].reshape(10, -1), *np.zeros((8, rate // 2), np.int16)], None
passing, bounds = [], []
for piece in (*pieces, *(speech[: rate // 2],) * 50):
    state, now, strips = app["predict_live"]((rate, np.stack([piece, piece], axis=1)), state)
    passing.append((now, strips))
    bounds.append((len(state["samples"]), len(state["predictions"])))
content["passing"], content["bounds"] = passing[:19], [max(numbers) for numbers in zip(*bounds)]
print(json.dumps(content))
"""


def values(html):
    return {
        label: float(value)
        for label, value in re.findall(r'label">(\w+)<.*?value">([\d.]+)<', html)
    }


def test_the_snippet_of_the_adapter_predicts_as_the_merged_model(tmp_path):
    base = write_checkpoint(tmp_path / "base", "wav2vec2", "layer")
    own = {
        "id2label": dict(enumerate(LABELS)),
        "label2id": {word: i for i, word in enumerate(LABELS)},
    }
    torch.manual_seed(1)
    config = AutoConfig.from_pretrained(base, **own)
    adapted = add_lora(
        AutoModelForAudioClassification.from_pretrained(base, config=config), Lora(2)
    )
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn(parameter.shape)
    folder = tmp_path / "adapted"
    merged(adapted).save_pretrained(folder)
    AutoFeatureExtractor.from_pretrained(base).save_pretrained(folder)
    save_adapter(adapted, folder / "adapter", "base")
    report = whole_report()
    report["model"] |= {
        "adapter": True,
        "depth": "Adapters are trained.",
        "base_model": "base",
        "remote_code": False,
    }
    report["environment"]["versions"] |= {"transformers": "5"}
    report["model"]["sampling_rate"] = 16000
    text = str(
        model_card(Report.from_dict(report), {"corpus": {"name": "cremad"}, "model": {}}, "adapted")
    )
    from_array, from_file, by_itself = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert "classifier(audio" in from_array
    assert 'classifier("clip.wav"' in from_file  # needs ffmpeg, see the tests of complete runs
    assert "PeftModel" in by_itself

    clip = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
    soundfile.write(tmp_path / "clip.wav", np.stack([clip, clip], axis=1), 16000)
    printed = run_without_ser_hf(from_array + by_itself + COMPARE, tmp_path).splitlines()
    content = next(line for line in printed if line.startswith("[{"))
    logits = json.loads(
        next(line for line in printed if line.startswith("logits")).removeprefix("logits")
    )
    wanted = dict(zip(LABELS, torch.tensor(logits)[0].softmax(dim=0).tolist(), strict=True))
    scores = {item["label"]: item["score"] for item in json.loads(content.replace("'", '"'))}
    assert scores == pytest.approx(wanted, abs=1e-5)
    assert max(scores.values()) - min(scores.values()) > 0.01, (
        "equal predictions would show nothing"
    )


def test_its_page_predicts_as_the_pipeline_without_ser_hf(tmp_path):
    pytest.importorskip("gradio")
    classifier = tiny_model(tmp_path / "model")
    generator = np.random.default_rng(0)
    sweep = np.sin(np.cumsum(np.linspace(0.05, 0.9, 6 * 16000))) * np.repeat(
        [0.6, 0.02, 0.3], 2 * 16000
    )
    clip = (sweep + 0.05 * generator.standard_normal(len(sweep))).astype(np.float32) / 2
    written = {
        "long": clip,
        "short": clip[:24000],
        "empty": clip[:0],
        "tenth": clip[:1000],
        "silent": 0 * clip,
    }
    for name, samples in (written | {"nan": np.where(clip > 0.3, np.nan, clip)}).items():
        soundfile.write(tmp_path / f"{name}.wav", samples, 16000, subtype="FLOAT")
    (tmp_path / "text.wav").write_text("not audio")
    line = "SPEAKER long 1 {} {} <NA> <NA> {} <NA> <NA>\n"
    turns = {"a&b": (0.25, 1.5), "anna": (3.0, 1.25), "short": (4.5, 0.01)}
    rttm = "".join(line.format(*times, speaker) for speaker, times in turns.items())
    (tmp_path / "turns.rttm").write_text(rttm)
    (tmp_path / "wrong.rttm").write_text(rttm + line.format(5.0, 2.0, "anna"))
    write_space(
        tmp_path / "space", Demo(str(tmp_path / "model"), trust_remote_code=True, window=2.0)
    )
    content = json.loads(run_without_ser_hf(PREDICTIONS, tmp_path).splitlines()[-1])

    def expected(*clips):
        scores = [
            {row["label"]: row["score"] for row in classifier(piece, top_k=None)} for piece in clips
        ]
        return {
            label: pytest.approx(np.mean([one[label] for one in scores]), abs=6e-4)
            for label in scores[0]
        }

    whole, over_time = content["short"]
    assert values(whole) == expected(clip[:24000])
    assert "all of 1.5 s" in whole
    assert over_time == ""
    windows = [clip[start : start + 32000] for start in range(0, 64001, 16000)]
    mean, over_time = content["long"]
    assert values(mean) == expected(*windows)
    assert "6 s, mean of 5 windows of 2 s" in mean
    # Borders are halfway between the middles of windows: the second begins at 1.5 s of 6.
    steps = re.findall(r"M([\d.]+) 1V([\d.]+)H([\d.]+)V1Z", over_time)[:5]
    assert [float(begin) for begin, _, _ in steps] == [0, 250, 416.7, 583.3, 750]
    assert [float(end) for _, _, end in steps] == [250, 416.7, 583.3, 750, 1000]
    first = next(iter(classifier.model.config.id2label.values()))
    for (_, height, _), piece in zip(steps, windows, strict=True):
        assert 1 - float(height) == expected(piece)[first]
    _, over_time = content["turns"]
    assert "2 turns of the file, without 1 shorter than 0.1 s" in over_time
    steps = re.findall(r"M([\d.]+) 1V([\d.]+)H([\d.]+)V1Z", over_time)[:2]
    for (left, height, right), (start, length) in zip(steps, list(turns.values())[:2], strict=True):
        assert float(left) == pytest.approx(1000 * start / 6, abs=0.1)
        assert float(right) == pytest.approx(1000 * (start + length) / 6, abs=0.1)
        turn = clip[round(16000 * start) : round(16000 * (start + length))]
        assert 1 - float(height) == expected(turn)[first]
    assert re.findall(r'class="lane"><span class="label">([^<]*)<', over_time) == [
        "waveform",
        "a&amp;b",
        "anna",
    ]
    assert re.findall(r"<td>([\d.]+)</td></tr>", over_time)[:2] == ["1.5", "1.2"]
    assert "from 5 to 7 s, but the recording ends at 6.00 s" in content["wrong turns"][0]
    assert content["wrong turns"][1] == ""
    whole, over_time = content["unknown"]
    assert "<strong>unknown</strong>" in whole
    assert over_time.count(" unknown</title>") == 2

    assert "the first 1 s of 1.5 s" in content["fixed"][0]
    assert "in the first 4 s" in content["first"][0]
    refused = {
        "text": "cannot be read as audio",
        "empty": "empty",
        "tenth": "shorter than 0.1 s",
        "silent": "silent",
    }
    for name, words in (refused | {"nan": "not numbers"}).items():
        assert words in content[name][0], name
        assert content[name][1] == ""
    assert content["nothing"] == ["", ""]

    passing = content["passing"]
    assert values(passing[9][0]) == expected(np.round(clip[3 * 16000 : 5 * 16000] * 32767) / 32767)
    assert "No speech." in passing[13][0], "2 s after the last word, its window is empty"
    assert "No speech." not in passing[18][0]
    assert passing[13][1].count("M") == 4 * 13, "no prediction, nothing drawn"
    assert content["bounds"] == [32000, 41], "one window, and 20 s of predictions"
