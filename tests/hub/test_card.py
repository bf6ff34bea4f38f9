"""Cards and pages rendered from a small report: metadata the Hub understands, tables that are tables, no gaps."""

import functools
import re

import pytest
import yaml
from huggingface_hub import ModelCard
from support.hub.cards import check_card

from ser_hf.corpora import CORPORA, corpora_facts, corpus_facts
from ser_hf.evaluation.metrics import DEFINITIONS
from ser_hf.report.card import Runs, card_data, model_card
from ser_hf.report.card import report_page as markdown
from ser_hf.report.report import Report

METRICS = {"uar": 0.51236, "wa": 0.53, "macro_f1": 0.4987, "weighted_f1": 0.52}
ACTED = {
    "name": "ravdess",
    "title": "RAVDESS",
    "license": "cc-by-nc-sa-4.0",
    "language": "en",
    "url": "https://zenodo.org/records/1188976",
    "citation": "Livingstone and Russo 2018",
    "acted": True,
    "non_commercial": True,
}
SYNTHETIC = {
    "name": "synthetic",
    "title": "Synthetic voices",
    "license": None,
    "language": None,
    "url": None,
    "citation": None,
    "acted": False,
    "non_commercial": False,
}
PAIRS = ("train/validation", "train/test", "validation/test")
APART = ["speakers", "recordings", "near_duplicates"]
AUDIT = {
    "shared": {
        pair: {"speakers": 0, "sessions": None, "sentences": 2, "recordings": 0, "near_duplicates": 0}
        for pair in PAIRS
    },
    "apart": dict.fromkeys(PAIRS, APART),
    "duplicates": 0,
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
            "leak": None,
            "notes": ["One class is rare."],
            "fold": None,
            "parts": {
                "train": {"clips": 100, "speakers": [f"s{i}" for i in range(40)]},
                "validation": {"clips": 20, "speakers": ["v1", "v2"]},
                "test": {"clips": 8, "speakers": ["t1"]},
            },
        },
        "audit": AUDIT,
        "foil": None,
        "model": {"architecture": "crnn", "remote_code": True, "preparation": "", "learning": 5, "parameters": 12345},
        "environment": {
            "versions": {"ser_hf": "0.1.0", "torch": "2.12.1", "transformers": "5.23.0"},
            "git_revision": None,
            "accelerator": None,
            "processor": "a processor",
        },
        "metrics": METRICS,
        "intervals": intervals,
        "clip_intervals": intervals,
        "confidence": 0.95,
        "per_class": {"angry": row, "sad": row},
        "confusion": [[1, 3], [2, 2]],
        "slices": {"sex": {"female": {"clips": 5} | METRICS, "male": {"clips": 3} | METRICS}},
        "warnings": ["Judged on 1 speaker: too few."],
        "parts": {"train": METRICS, "validation": METRICS},
        "history": [],
        "selected_by": "uar",
        "seconds": {"training": 12.3, "per_epoch": 1.5},
        "training": {"precision": "bf16", "clips_per_step": 16, "data_workers": 0},
        "definitions": DEFINITIONS,
    } | changes


# A mixture's judgement, and what became of the labels of its files.
MIXED = {
    "corpora": {
        corpus: {
            "clips": 4,
            "speakers": 1,
            "metrics": METRICS,
            "per_class": {name: {"precision": 0.5, "recall": 0.25, "f1": 1 / 3, "support": 4} for name in own},
            "confusion": counts,
            "collisions": collisions,
        }
        for corpus, own, counts, collisions in (
            ("emodb", ["angry", "sad"], [[3, 1], [0, 4]], []),
            (
                "cremad",
                ["sad"],
                [[0, 0], [3, 1]],
                [{"label": "sad", "taken_for": "angry", "share": 0.75, "foreign": True}],
            ),
        )
    },
    "sources": [
        {"corpus": "emodb", "emotion": "angry", "word": "W", "label": "angry", "left_out": None, "clips": 4},
        {"corpus": "emodb", "emotion": "fear", "word": None, "label": None, "left_out": "dropped", "clips": 2},
        {"corpus": "emodb", "emotion": None, "word": None, "label": None, "left_out": "song", "clips": 1},
    ],
    "training": {
        **{"precision": "bf16", "clips_per_step": 16, "data_workers": 0},
        **{"balance": "corpus_and_class", "clips_per_epoch": {"cremad": 50, "emodb": 50}},
    },
}
LEAK = "Speaker-dependent: 1 of the 1 test speakers were used for training, so these figures say nothing about others."
LEAKY = {"protocol": _report()["protocol"] | {"name": "random", "leak": LEAK}}
DEVIATIONS = dict.fromkeys(METRICS, 0.01)
INTERVALS = {name: [value - 0.2, value + 0.2] for name, value in METRICS.items()}
MEANS = {name: value + 0.1 for name, value in METRICS.items()}
OVER = {"metrics": MEANS, "deviations": DEVIATIONS, "intervals": INTERVALS}
RUNS = {"1": {"metrics": METRICS}, "2": {"metrics": METRICS}}
# Of several runs: what differs in the report over all of them.
SEEDS = {"over": OVER | {"seeds": RUNS}}
ENERGY = {
    **{"kwh": 0.0123, "processor_kwh": 0.01, "accelerator_kwh": 0.0, "memory_kwh": 0.0023, "seconds": 12.3},
    **{"measured_by": "codecarbon 3.3.2", "country": "DEU", "emissions_kg": 0.00456},
}


def _condition(kind, severity, uar, **more):
    scores = {"uar": uar, "wa": uar, "macro_f1": uar, "drop": METRICS["uar"] - uar}
    return {"name": f"{kind} at {severity}", "kind": kind, "severity": severity, "unit": "dB"} | scores | more


ROBUST = {
    "clips": 8,
    "chance": 0.5,
    "clean": {"uar": METRICS["uar"], "wa": 0.53, "macro_f1": 0.4987},
    "conditions": [
        _condition("noise", 20.0, 0.45, interval=[0.4, 0.5]),
        _condition("noise", 0.0, 0.25, interval=[0.2, 0.3]),
        _condition("codec", 1.0, 0.5, interval=[0.4, 0.6]),
    ],
    "settings": {"of_clips": 8},
}
TWO = {"corpora": [{"name": "cremad"}, {"name": "emodb"}]}
MIXTURE = {"corpus": corpus_facts("mixture", TWO), "corpora": corpora_facts("mixture", TWO)}
POOLED = {
    "metrics": {name: value + 0.05 for name, value in METRICS.items()},
    "intervals": INTERVALS,
    "clip_intervals": INTERVALS,
}
FOIL = {
    "protocol": "random",
    "metrics": MEANS,
    "intervals": INTERVALS,
    "audit": AUDIT,
    "against": METRICS,
    "gap": dict.fromkeys(METRICS, 0.1),
}
FOLDS = {
    "over": OVER | {"protocol": _report()["protocol"] | {"folds": RUNS}, "pooled": POOLED, "foil": FOIL},
    "protocol": _report()["protocol"] | {"name": "kfold", "fold": "s1, s2"},
}
CASES = {
    "acted": ({}, {}),
    "synthetic": ({}, {"corpus": SYNTHETIC}),
    "encoder": ({}, {"remote_code": False, "base_model": "facebook/wav2vec2-base"}),
    "adapted": (
        {"model": _report()["model"] | {"remote_code": False, "depth": "Adapters learnt.", "adapter": True}},
        {"remote_code": False, "base_model": "facebook/wav2vec2-base"},
    ),
    "validation": ({"judged_on": "validation"}, {}),
    "by loss": ({"selected_by": "loss", "warnings": []}, {}),
    "seeds": (SEEDS, {}),
    "seeds without warnings": (SEEDS | {"warnings": []}, {}),
    "ungathered": (
        {
            "environment": {
                "versions": {"ser_hf": None, "torch": "2", "transformers": "5"},
                "git_revision": "abc1234",
                "accelerator": "a GPU",
                "processor": "x",
            },
            "seconds": {"training": 12.3, "per_epoch": None},
        },
        {},
    ),
    "leaky": (LEAKY, {}),
    "folds": (FOLDS, {}),
    "foil that does not flatter": ({"foil": FOIL | {"gap": dict.fromkeys(METRICS, -0.1)}}, {}),
    "own table": ({}, {"corpus": corpus_facts("csv", {})}),
    "savee": ({}, {"corpus": corpus_facts("savee", {})}),
    "mixture": (MIXED, MIXTURE),
    "robust": ({"robustness": ROBUST}, {}),
    "published": (
        SEEDS | {"energy": ENERGY},
        {
            "location": "someone/toy",
            "hub_id": "someone/toy",
            "report_repo": "someone/toy-report",
            "space": "someone/toy-demo",
            "about": "It is small (arXiv:1609.04243).",
            "works": ["the network: Choi et al. 2017, arXiv:1609.04243"],
            "pictures": {name: f"{name}.png" for name in ("confusion_matrix", "reliability")},
        },
    ),
}

ALL = tuple(CASES)  # which no test changes


def _card(case="acted"):
    return _made(case) if case in ALL else _render(case)


@functools.cache
def _made(case):
    return _render(case)


def _render(case):
    changes, settings = CASES[case]
    defaults = {
        "corpus": ACTED,
        "location": "runs/toy_run/model",
        "architecture": "A small network.",
        "remote_code": True,
        "sampling_rate": 16000,
        "recipe": "name: toy_run\nmodel:\n  architecture: crnn\n",
    }
    own = {key: value for key, value in changes.items() if key != "over"}
    report = Report.from_dict(_report(**own))
    runs = None
    if "over" in changes:
        total = Report.from_dict(_report(**own | changes["over"]))
        runs = Runs(total, report, [1, 2] if total.protocol.folds else [2])
    return model_card(report, runs=runs, **defaults | settings)


def report_page(report, **settings):
    return markdown(Report.from_dict(report), **settings)


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


every_case = pytest.mark.parametrize("case", ALL)


@every_case
def test_the_hub_reads_the_front_matter(case):
    card = ModelCard(str(_card(case)))
    data = card.data.to_dict()
    assert data["pipeline_tag"] == "audio-classification"
    assert data["library_name"] == "transformers"
    licences = {"synthetic": None, "own table": None, "savee": "other", "mixture": "other"}
    assert check_card(str(_card(case)), "model") == []
    assert data.get("license") == licences.get(case, "cc-by-nc-sa-4.0")
    assert data.get("base_model") == ("facebook/wav2vec2-base" if case in ("encoder", "adapted") else None)
    values = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert values == {"recall": 0.5124, "accuracy": 0.53, "f1": 0.4987}
    assert data["model-index"][0]["name"] == "toy_run"


@pytest.mark.parametrize(("case", "split"), [("acted", "test"), ("validation", "validation")])
def test_the_index_says_which_part_was_judged(case, split):
    assert {result.dataset_split for result in _card(case).data.eval_results} == {split}


def test_the_card_tells_what_learnt_and_where_the_adapter_is():
    text = str(_card("adapted"))
    assert "Adapters learnt. 5 of 12,345 parameters are trainable." in text
    assert 'PeftModel.from_pretrained(base, "runs/toy_run/model", subfolder="adapter")' in text
    assert "PeftModel" not in str(_card("encoder"))
    assert "are trainable" not in str(_card("encoder"))


@every_case
def test_nothing_is_left_unfilled(case):
    text = str(_card(case)).replace("top_k=None", "")
    for gap in ("None", "[More Information Needed]", "{{ ", "{%", "Undefined", "null"):
        assert gap not in text
    assert not re.search(r"\n{3,}", text)
    assert not re.search(r"\(\)|[ \t]\n|\| +\| *\||^- *$|: *\.", text, flags=re.MULTILINE)
    headings = re.findall(r"^##+ (.*)$", text, flags=re.MULTILINE)
    assert len(set(headings)) == len(headings)
    for heading, after in re.findall(r"^##+ (.*)\n\n(.)", text, flags=re.MULTILINE):
        assert after != "#", f"nothing under {heading}" if not heading.startswith("Results") else heading


@every_case
def test_tables_are_tables(case):
    tables = _tables(str(_card(case)))
    # Parts, audit, metrics, classes, one slice. More of a mixture: licences, what became of labels, each corpus by
    # itself, a confusion of each.
    more = {"mixture": 5, "seeds": 1, "seeds without warnings": 1, "folds": 1, "published": 1, "robust": 1}
    assert len(tables) == 5 + more.get(case, 0)
    _require_tables(tables)


def _require_tables(tables):
    for before, (header, rule, *rows) in tables:
        assert not before, "a table needs a blank line before it"
        assert set("".join(rule)) == {"-"}
        assert rows
        assert {len(row) for row in (rule, *rows)} == {len(header)}
        # A row of deviations has none for every column.
        assert all(cell.strip() for row in rows if "standard deviation" not in row[0] for cell in row)


def test_figures_stand_in_the_tables():
    (_, parts), (_, shared), (_, metrics), (_, emotions), (_, slices) = _tables(str(_card()))
    assert [cell.strip() for cell in slices[2]] == ["female", "5", "0.512", "–", "0.499"]
    assert [cell.strip() for cell in shared[0]] == [
        *("splits", "speakers", "sessions", "sentences", "recordings", "near duplicates")
    ]
    assert [cell.strip() for cell in shared[3]] == ["train/test", "0", "unknown", "**2**", "0", "0"]
    assert [cell.strip() for cell in parts[2]] == ["train", "100", "40"], "forty names would be no table"
    assert [cell.strip() for cell in parts[3]] == ["validation", "20", "v1, v2"]
    assert [cell.strip() for cell in metrics[2]] == ["UAR", "0.512", "0.412 to 0.612", "0.412 to 0.612"]
    assert "95 % interval" in metrics[0][2]
    assert [cell.strip() for cell in emotions[2]] == ["angry", "0.500", "0.250", "0.333", "4"]


@pytest.mark.parametrize("name", CORPORA)
def test_the_non_commercial_note_follows_the_corpus(name, monkeypatch):
    """By the licence's own name, or, where there is no standard licence, by what the corpus's module says."""
    facts = corpus_facts(name, {})
    assert facts["non_commercial"] is (name in {"ravdess", "tess", "savee", "emodb", "iemocap", "esd", "meld"})
    monkeypatch.setitem(CASES, "licensed", ({}, {"corpus": facts}))
    assert ("forbids commercial use" in str(_card("licensed"))) is facts["non_commercial"]


@pytest.mark.parametrize(
    ("license", "noted"), [("cc-by-nc-sa-4.0", True), ("cc-by-nc-4.0", True), ("odbl", False), (None, False)]
)
def test_a_table_s_licence_is_read_for_what_it_forbids(license, noted, monkeypatch):
    facts = corpus_facts("csv", {"license": license, "title": "My table"})
    assert facts["non_commercial"] is noted
    monkeypatch.setitem(CASES, "licensed", ({}, {"corpus": facts}))
    card = str(_card("licensed"))
    assert ("forbids commercial use" in card) is noted
    assert (f"License of the recordings: {license}" in card) is (license is not None)
    assert "My table" in card


@every_case
def test_code_is_trusted_only_where_it_is_needed(case):
    assert (", trust_remote_code=True)" in str(_card(case))) is (case not in ("encoder", "adapted"))
    where = "someone/toy" if case == "published" else "runs/toy_run/model"
    assert f'pipeline("audio-classification", model="{where}"' in str(_card(case))


def test_limits_tell_acted_from_synthetic():
    assert "acted emotions of 40 speakers" in str(_card("acted"))
    assert "synthetic signals" not in str(_card("acted"))
    assert "synthetic signals" in str(_card("synthetic"))
    assert "acted emotions" not in str(_card("synthetic"))


def test_a_mixture_s_card_tells_each_licence_and_its_languages(monkeypatch):
    card = _card("mixture")
    assert card.data.language == ["en", "de"]
    assert (card.data.license, card.data.license_name) == ("other", "several-licenses-non-commercial")
    licences = [[cell.strip() for cell in row[:4]] for row in _tables(str(card))[0][1][2:]]
    assert licences == [
        ["CREMA-D", "en", "odbl", "not forbidden"],
        ["EMO-DB", "de", "its makers' own terms", "forbidden"],
    ]
    assert "forbids commercial use" in str(card)
    assert "speakers in English and German" in str(card)
    assert "- CREMA-D: Cao H" in str(card)
    calls = {"name": "csv", "title": "Calls"}
    options = {"corpora": [{"name": "cremad"}, calls]}
    facts = {"corpus": corpus_facts("mixture", options), "corpora": corpora_facts("mixture", options)}
    monkeypatch.setitem(CASES, "calls", ({}, facts))
    assert "speakers of these corpora" in str(_card("calls"))


def test_a_mixture_s_card_shows_where_labels_collide():
    _, _, sources, _, _, _, corpora, emodb, cremad, _ = [rows for _, rows in _tables(str(_card("mixture")))]
    cells = [[cell.strip() for cell in row] for row in sources[2:]]
    assert cells == [
        ["emodb", "angry (W)", "4", "angry"],
        ["emodb", "fear", "2", "*left out: dropped*"],
        ["emodb", "-", "1", "*left out: song*"],
    ]
    assert [row[-1].strip() for row in corpora[2:]] == ["none", "sad as angry (no label of cremad): 75 %"]
    assert [cell.strip() for cell in emodb[2]] == ["angry", "**75 %**", "25 %", "4"]
    assert [[cell.strip() for cell in row] for row in cremad[2:]] == [["sad", "75 %", "**25 %**", "4"]]
    told = "An epoch has 50 clips of cremad, 50 clips of emodb, with equal shares of all corpora and of their classes."
    assert told in str(_card("mixture"))
    assert "An epoch has" not in str(_card())


def test_a_mixture_s_page_shows_each_corpus_and_its_picture():
    page = report_page(_report(**MIXED, seeds=None))
    assert "## Results by corpus" in page
    assert "![Confusion matrix of each corpus](confusion_by_corpus.png)" in page
    assert "## Corpus labels" in page
    assert "sad as angry (no label of cremad): 75 %" in page
    _require_tables(_tables(page))
    for absent in ("## Results by corpus", "## Corpus labels", "confusion_by_corpus"):
        assert absent not in report_page(_report(seeds=None))


def test_what_noise_does_is_told_by_kind_with_the_worst():
    rows = next(rows for _, rows in _tables(str(_card("robust"))) if "degradation" in rows[0][0])
    assert [[cell.strip() for cell in row] for row in rows[2:]] == [
        ["noise", "2", "0.350", "noise at 0.0", "0.250 (0.200 to 0.300)", "-0.262"],
        ["codec", "1", "0.500", "codec at 1.0", "0.500 (0.400 to 0.600)", "-0.012"],
    ]
    assert "0.400 on average over 3 conditions" in str(_card("robust"))
    assert "telephones and noise, which the results above do not cover" in str(_card())
    assert "do not cover" not in str(_card("robust"))
    page = report_page(_report(robustness=ROBUST | {"settings": {"of_clips": 8, "runs": 2}}))
    assert "The weights of all 2 runs, on average, on 8 degraded clips" in page
    assert "![UAR by severity of each condition](robustness.png)" in page


def test_what_all_runs_found_stands_beside_what_these_weights_did(monkeypatch):
    found = {"robustness": ROBUST | {"settings": {"runs": 2}}, "temperatures": {"1": 1.25, "2": 0.8}}
    found["seconds"] = {"training": 7200.0}
    over = SEEDS["over"] | found | {"energy": ENERGY | {"kwh": 1.5}}
    monkeypatch.setitem(CASES, "found", ({"over": over}, {}))
    text = str(_card("found"))
    assert "Over all 2 seeds, on average: UAR of unchanged clips 0.512, under all conditions 0.400, under the" in text
    assert "The temperatures fitted on the validation splits of the 2 seeds (temperature scaling" in text
    assert " are 1.25 and 0.8." in text
    assert "- Training of all runs: 2.0 h\n- Energy of all runs: 1.5 kWh in training, estimated by" in text
    assert not re.search(r"\n{3,}", text)


def test_a_metric_without_an_interval_says_why(monkeypatch):
    metrics = METRICS | {"ece": 0.1, "mcc": None}
    told = {"metrics": metrics, "intervals": {name: [0.1, 0.2] for name in METRICS}}
    monkeypatch.setitem(CASES, "undefined", (told, {}))
    text = str(_card("undefined"))
    assert "| ECE | 0.100 | – | – |" in text
    assert "ECE has no interval: resampling biases it upwards." in text
    assert "A dash: the metric is undefined for these clips." in text
    for absent in ("ECE has no interval", "A dash:"):
        assert absent not in str(_card())


def test_a_published_card_links_what_belongs_to_it_and_shows_its_pictures():
    text = str(_card("published"))
    assert "[Try it in the browser](https://huggingface.co/spaces/someone/toy-demo)" in text
    assert "[The evaluation report](https://huggingface.co/datasets/someone/toy-report)" in text
    assert re.findall(r"!\[[^]]*\]\((.*?)\)", text) == ["confusion_matrix.png", "reliability.png"]
    assert "## The network\n\nIt is small ([arXiv:1609.04243](https://arxiv.org/abs/1609.04243))." in text
    assert "12.3 Wh in training, estimated by codecarbon 3.3.2; 4.56 g of CO2 equivalents on the grid of DEU" in text
    data = _card("published").data
    assert data.co2_eq_emissions["emissions"] == 4.56
    assert {result.source_url for result in data.eval_results} == {
        "https://huggingface.co/datasets/someone/toy-report"
    }
    assert "![" not in str(_card())
    page = report_page(_report(seeds=None), model="someone/toy", space="someone/toy-demo")
    assert "[someone/toy](https://huggingface.co/someone/toy)" in page
    assert "(https://huggingface.co/spaces/someone/toy-demo)" in page
    assert "huggingface.co" not in report_page(_report(seeds=None)).partition("## Protocol")[0]


def test_limits_name_the_law_and_the_risks():
    for case in ("acted", "mixture", "leaky", "published"):
        text = str(_card(case)).partition("## Limitations and risks")[2].partition("\n## ")[0]
        for word in ("Acted speech", "Language and culture", "Age and voice", "Consent", "article\n5(1)(f)", "50(3)"):
            assert word in text


def test_the_index_names_the_corpora_that_judged():
    """Which of a mixture that leaves one out are others than it learnt from."""
    data = card_data(
        Report.from_dict(_report()), MIXTURE["corpus"], MIXTURE["corpora"], judged=corpora_facts("ravdess", {})
    )
    assert {(result.dataset_type, result.dataset_name) for result in data.eval_results} == {
        ("ravdess", "RAVDESS, speaker_independent")
    }
    data = card_data(Report.from_dict(_report(**LEAKY)), MIXTURE["corpus"], MIXTURE["corpora"])
    assert {(result.dataset_type, result.dataset_name) for result in data.eval_results} == {
        ("mixture", "CREMA-D and EMO-DB, random, leaky")
    }
    assert [result.metric_name for result in data.eval_results] == [
        f"{name} (random, leaky)" for name in ("UAR", "WA", "macro-F1")
    ]
    assert [result.metric_args for result in data.eval_results] == [{"average": "macro"}, None, {"average": "macro"}]
    assert data.eval_results[0].dataset_args == {"protocol": "random", "split_sha256": "0123456789abcdef" * 4}


def test_the_judged_part_is_told():
    assert "Results on the test speakers" in str(_card())
    assert "evaluated on the test split once" in str(_card())
    assert "Results on the validation speakers" in str(_card("validation"))
    assert "was not used" in str(_card("validation"))
    assert "selected by loss on the validation split" in str(_card("by loss"))
    assert "Results on test clips of training speakers" in str(_card("leaky"))


@every_case
def test_a_leaky_protocol_is_told_before_anything_else_and_no_other_is(case):
    _, _, body = str(_card(case)).split("---\n", 2)
    first = body.strip().splitlines()[2]
    assert (first == f"> **Evaluated under a leaky protocol (`random`).** {LEAK}") is (case == "leaky")
    assert ("leaky protocol (`" in body) is (case == "leaky")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "fitted on the validation split is 1.59 (temperature scaling"),
        ({"stored": True}, "The probabilities are calibrated: the model divides all logits by the temperature 1.59"),
        ({"value": 100.0}, None),
    ],
)
def test_a_temperature_is_told_with_what_it_does_unless_validation_told_none(changes, told):
    before, after = {"log_loss": 1.5, "ece": 0.126, "brier": 0.7}, {"log_loss": 1.4, "ece": 0.057, "brier": 0.6}
    facts = {"value": 1.59, "fitted_on": "validation", "before": before, "after": after, "stored": False}
    page = report_page(_report(temperature=facts | changes))
    assert ("expected calibration error 0.126 bec" in page) == (told is not None)
    assert told is None or told in page


def test_the_foil_s_gap_is_told_as_a_claim_only_where_it_flatters():
    flattered, honest = str(_card("folds")), str(_card("foil that does not flatter"))
    assert "Under the leaky protocol `random`, whose test speakers are training speakers too" in flattered
    assert "0.612 against 0.512 (+0.100). New speakers do not get this result." in flattered
    assert "0.612 against 0.512 (-0.100)." in honest
    assert "leaky" not in str(_card())


def test_the_card_of_several_runs_names_its_weights_and_gives_all_of_them():
    text = str(_card("folds"))
    assert "These are the weights of fold 1, seed 2, which has the best validation score of 2." in text
    assert "`kfold`, fold s1, s2, fingerprint `0123456789abcdef`" in text
    table = next(rows for _, rows in _tables(text) if rows[0][1].strip() == "mean")
    assert [cell.strip() for cell in table[0]] == [
        *("metric", "mean", "standard deviation", "95 % interval of the mean", "pooled predictions"),
        *("fold 1", "fold 2"),
    ]
    assert [cell.strip() for cell in table[2]] == [
        "UAR",
        "0.612",
        "0.010",
        "0.312 to 0.712",
        "0.562",
        "0.512",
        "0.512",
    ]
    seeds = next(rows for _, rows in _tables(str(_card("seeds"))) if rows[0][1].strip() == "mean")
    assert [cell.strip() for cell in seeds[0]][4:] == ["seed 1", "seed 2"]


def test_notes_of_the_protocol_and_what_is_shared_stand_in_the_card():
    text = str(_card())
    assert "\nOne class is rare.\n" in text
    assert "(speakers, sessions, sentences, recordings, near duplicates; bold where" in text


def test_the_recipe_can_be_copied_from_the_card():
    (recipe,) = re.findall(r"```yaml\n(.*?)```", str(_card()), flags=re.DOTALL)
    assert yaml.safe_load(recipe) == {"name": "toy_run", "model": {"architecture": "crnn"}}


FOLD = {
    "tested": "s1, s2",
    "sha256": "0" * 64,
    "parts": {"test": {"clips": 8, "speakers": ["s1", "s2"]}, "validation": {"clips": 9, "speakers": ["v1"]}},
    "metrics": METRICS,
    "validation": {"loss": 1.0} | MEANS,
}
SEVERAL = {"history": [], "deviations": DEVIATIONS}
OVER_FOLDS = SEVERAL | {
    "protocol": _report()["protocol"]
    | {"name": "kfold", "folds": {"1": FOLD, "2": FOLD}, "parts": {"test": {"clips": 8, "speakers": ["t1"]}}},
    "pooled": POOLED,
    "foil": FOIL,
}
OVER_SEEDS = SEVERAL | {"seeds": {"1": {"metrics": METRICS, "validation": MEANS}}}
PAGES = {
    "one run": {"history": [{"epoch": 1.0}]},
    "leaky": LEAKY,
    "validation": {"judged_on": "validation"},
    "seeds": OVER_SEEDS,
    "folds": OVER_FOLDS,
    "no slices": {"slices": {}},
    "ungathered": CASES["ungathered"][0],
}
every_page = pytest.mark.parametrize("page", PAGES)


def _page(page):
    return report_page(_report(**PAGES[page]))


@every_page
def test_a_page_leaves_nothing_unfilled(page):
    text = _page(page)
    for gap in ("None", "{{", "{%", "Undefined", "null"):
        assert gap not in text
    assert not re.search(r"\n{3,}|\(\)| +\n", text)
    assert text.startswith("# toy_run: evaluation report\n\n**UAR 0.512** on ")
    assert text.endswith("`predictions.parquet`.\n")


@every_page
def test_a_page_s_tables_are_tables(page):
    tables = _tables(_page(page))
    # Audit, parts, metrics, scores by part, classes and one slice; folds have no parts, but themselves and the pooled.
    assert len(tables) == {"seeds": 7, "folds": 7, "no slices": 5}.get(page, 6)
    _require_tables(tables)


def test_the_page_of_folds_gives_each_fold_the_mean_the_pool_and_the_gap():
    text = _page("folds")
    assert "mean of 2 folds, standard deviation 0.010)" in text
    rows = [[cell.strip() for cell in row] for _, table in _tables(text) for row in table]
    assert ["1", "s1, s2", "8", "0.512", "0.530", "0.499", "0.612"] in rows
    assert ["UAR", "0.562", "0.312 to 0.712", "0.312 to 0.712"] in rows
    assert "one per clip" in text
    assert "0.612 against 0.512 (+0.100)" in text.partition("## Protocol")[0]
    assert "in the worst fold (speakers" in text
    assert "![UAR by fold](folds.png)" in text


def test_the_page_of_seeds_gives_each_seed():
    text = _page("seeds")
    assert "mean of 1 seeds, standard deviation 0.010)" in text
    rows = [[cell.strip() for cell in row] for _, table in _tables(text) for row in table]
    assert ["1", "0.512", "0.530", "0.499", "0.612"] in rows
    assert "folds.png" not in text


def test_the_page_shows_curves_only_where_there_are_some():
    assert "training_curves.png" in _page("one run")
    assert "training_curves.png" not in _page("folds")


def test_the_page_of_a_leaky_protocol_says_so_before_the_protocol():
    assert f"> **Leaky protocol (`random`).** {LEAK}" in _page("leaky").partition("## Protocol")[0]
    assert "on test clips of training speakers" in _page("leaky")
    assert "eaky" not in _page("one run")


def test_words_of_others_tables_stay_in_their_cells():
    """A label, a speaker or a sentence may hold what ends a cell, begins code or HTML, or breaks the line."""
    odd = "a|b`c\n<i>"
    source = {"corpus": "csv", "emotion": "sad", "word": odd, "clips": 1, "label": None, "left_out": odd}
    parts = {part: {"clips": 1, "speakers": [f"csv:{odd}"]} for part in ("train", "validation", "test")}
    protocol = _report()["protocol"] | {"parts": parts}
    slices = {"sentence": {odd: {"clips": 1, "uar": 0.5, "wa": 0.5, "macro_f1": 0.5, "weighted_f1": 0.5}}}
    page = report_page(_report(sources=[source], protocol=protocol, slices=slices))
    assert page.count("a\\|b\\`c \\<i>") == 2 + 3 + 1
    assert "a|b" not in page
