"""Model cards rendered from a small report: metadata the Hub understands, tables that are tables, no gaps."""

import re

import pytest
import yaml
from huggingface_hub import ModelCard

from ser_hf.evaluation.metrics import DEFINITIONS
from ser_hf.hub.card import model_card

METRICS = {"uar": 0.51236, "wa": 0.53, "macro_f1": 0.4987, "weighted_f1": 0.52}
ACTED = {
    "name": "ravdess",
    "title": "RAVDESS",
    "license": "cc-by-nc-sa-4.0",
    "language": "en",
    "url": "https://zenodo.org/records/1188976",
    "citation": "Livingstone and Russo 2018",
    "acted": True,
}
SYNTHETIC = {
    "name": "synthetic",
    "title": "Synthetic voices",
    "license": None,
    "language": None,
    "url": None,
    "citation": None,
    "acted": False,
}


def _report(**changes):
    row = {"precision": 0.5, "recall": 0.25, "f1": 1 / 3, "support": 4}
    intervals = {name: [value - 0.1, value + 0.1] for name, value in METRICS.items()}
    return {
        "name": "toy_run",
        "judged_on": "test",
        "output_dir": "runs/toy_run",
        "labels": ["angry", "sad"],
        "protocol": {
            "name": "speaker_independent",
            "sha256": "0123456789abcdef" * 4,
            "parts": {
                "train": {"clips": 100, "speakers": [f"s{i}" for i in range(40)]},
                "validation": {"clips": 20, "speakers": ["v1", "v2"]},
                "test": {"clips": 8, "speakers": ["t1"]},
            },
        },
        "audit": {"shared": {"train/test": {"speakers": 0, "recordings": 0, "sentences": 2}}},
        "model": {"architecture": "crnn", "remote_code": True},
        "environment": {
            "versions": {"ser_hf": "0.1.0", "torch": "2.12.1", "transformers": "5.23.0"},
            "accelerator": None,
            "processor": "a processor",
        },
        "metrics": METRICS,
        "intervals": intervals,
        "clip_intervals": intervals,
        "confidence": 0.95,
        "per_class": {"angry": row, "sad": row},
        "confusion": [[1, 3], [2, 2]],
        "slices": {},
        "warnings": ["Judged on 1 speaker: too few."],
        "parts": {"train": METRICS, "validation": METRICS},
        "history": [],
        "selected_by": "uar",
        "seconds": {"training": 12.3},
        "definitions": DEFINITIONS,
    } | changes


SEEDS = {
    "seeds": {"1": {"metrics": METRICS}, "2": {"metrics": METRICS}},
    "chosen_seed": 2,
    "means": METRICS,
    "deviations": dict.fromkeys(METRICS, 0.01),
}
CASES = {
    "acted": ({}, {}),
    "synthetic": ({}, {"corpus": SYNTHETIC}),
    "encoder": ({}, {"remote_code": False, "base_model": "facebook/wav2vec2-base"}),
    "validation": ({"judged_on": "validation"}, {}),
    "by loss": ({"selected_by": "loss", "warnings": []}, {}),
    "seeds": (SEEDS, {}),
    "seeds without warnings": (SEEDS | {"warnings": []}, {}),
    "ungathered": (
        {
            "environment": {
                "versions": {"ser_hf": None, "torch": "2", "transformers": "5"},
                "accelerator": "a GPU",
                "processor": "x",
            }
        },
        {},
    ),
}


def _card(case="acted"):
    changes, settings = CASES[case]
    defaults = {
        "corpus": ACTED,
        "location": "runs/toy_run/model",
        "architecture": "A small network.",
        "remote_code": True,
        "sampling_rate": 16000,
        "recipe": "name: toy_run\nmodel:\n  architecture: crnn\n",
    }
    return model_card(_report(**changes), **defaults | settings)


def _tables(text):
    """Runs of lines that begin with a bar, with the line before each, as lists of cells."""
    tables, before = [], ""
    for line in text.splitlines():
        if line.startswith("|"):
            if not before.startswith("|"):
                tables.append((before, []))
            tables[-1][1].append(re.split(r"(?<!\\)\|", line.strip())[1:-1])
        before = line
    return tables


every_case = pytest.mark.parametrize("case", CASES)


@every_case
def test_the_hub_reads_the_front_matter(case):
    card = ModelCard(str(_card(case)))
    data = card.data.to_dict()
    assert data["pipeline_tag"] == "audio-classification"
    assert data["library_name"] == "transformers"
    assert data.get("license") == (None if case == "synthetic" else "cc-by-nc-sa-4.0")
    assert data.get("base_model") == ("facebook/wav2vec2-base" if case == "encoder" else None)
    values = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert values == {"recall": 0.5124, "accuracy": 0.53, "f1": 0.4987}
    assert data["model-index"][0]["name"] == "toy_run"


@pytest.mark.parametrize(("case", "split"), [("acted", "test"), ("validation", "validation")])
def test_the_index_says_which_part_was_judged(case, split):
    assert {result.dataset_split for result in _card(case).data.eval_results} == {split}


@every_case
def test_nothing_is_left_unfilled(case):
    text = str(_card(case)).replace("top_k=None", "")
    for gap in ("None", "[More Information Needed]", "{{", "{%", "Undefined", "null"):
        assert gap not in text
    assert not re.search(r"\n{4,}", text)
    assert not re.search(r"\(\)|  \n|\| +\| *\|", text)


@every_case
def test_tables_are_tables(case):
    tables = _tables(str(_card(case)))
    assert len(tables) == (4 if "seeds" in case else 3)
    for before, (header, rule, *rows) in tables:
        assert not before, "a table needs a blank line before it"
        assert set("".join(rule)) == {"-"}
        assert rows
        assert {len(row) for row in (rule, *rows)} == {len(header)}
        assert all(cell.strip() for row in rows for cell in row)


def test_figures_stand_in_the_tables():
    (_, parts), (_, metrics), (_, emotions) = _tables(str(_card()))
    assert [cell.strip() for cell in parts[2]] == ["train", "100", "40"], "forty names would be no table"
    assert [cell.strip() for cell in parts[3]] == ["validation", "20", "v1, v2"]
    assert [cell.strip() for cell in metrics[2]] == ["UAR", "0.512", "0.412 to 0.612", "0.412 to 0.612"]
    assert "95 % interval" in metrics[0][2]
    assert [cell.strip() for cell in emotions[2]] == ["angry", "0.500", "0.250", "0.333", "4"]


@pytest.mark.parametrize(
    ("license", "noted"), [("cc-by-nc-sa-4.0", True), ("cc-by-nc-4.0", True), ("odbl", False), (None, False)]
)
def test_the_non_commercial_note_follows_the_licence(license, noted, monkeypatch):
    monkeypatch.setitem(CASES, "licensed", ({}, {"corpus": ACTED | {"license": license}}))
    assert ("forbids commercial use" in str(_card("licensed"))) is noted


@every_case
def test_code_is_trusted_only_where_it_is_needed(case):
    assert (", trust_remote_code=True)" in str(_card(case))) is (case != "encoder")
    assert 'pipeline("audio-classification", model="runs/toy_run/model"' in str(_card(case))


def test_limits_tell_acted_from_synthetic():
    assert "acted emotions of 40 speakers" in str(_card("acted"))
    assert "synthetic signals" not in str(_card("acted"))
    assert "synthetic signals" in str(_card("synthetic"))
    assert "acted emotions" not in str(_card("synthetic"))


def test_the_judged_part_is_told():
    assert "Results on the test speakers" in str(_card())
    assert "judged it once" in str(_card())
    assert "Results on the validation speakers" in str(_card("validation"))
    assert "left untouched" in str(_card("validation"))
    assert "picked by loss on the validation speakers" in str(_card("by loss"))


def test_the_recipe_can_be_copied_from_the_card():
    (recipe,) = re.findall(r"```yaml\n(.*?)```", str(_card()), flags=re.DOTALL)
    assert yaml.safe_load(recipe) == {"name": "toy_run", "model": {"architecture": "crnn"}}
