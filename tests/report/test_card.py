"""Model cards: metadata that the Hub reads, well-formed tables, no gaps, no local paths."""

import copy
import functools
import json
import re

import pytest
import yaml
from huggingface_hub import ModelCard
from support.hub.cards import check_card
from support.reports import over_folds, typed, whole_report

from ser_hf.experiment.reading import read_recipe
from ser_hf.models import ARCHITECTURES
from ser_hf.report.card import Runs, card_of_run, card_pictures, model_card, run_report
from ser_hf.report.citations import network_words
from ser_hf.utils.errors import UserError
from ser_hf.utils.yaml import dump_yaml

BASE = "facebook/wav2vec2-base"
ENCODER = {
    "architecture": "encoder",
    "checkpoint": BASE,
    "weighted_layer_sum": True,
    "random_init": False,
}
MODEL = {"architecture": "encoder", "encoder": "wav2vec2", "base_model": BASE, "remote_code": False}
LEAK = "Speaker-dependent: 8 of the 8 test speakers were used for training."
VERSIONS = {"ser_hf": "0.2.0", "torch": "2.12.1", "transformers": "5.23.0"}


@functools.cache
def _whole():
    report = whole_report()
    report["environment"]["versions"] = VERSIONS
    report["model"]["sampling_rate"] = 16000
    return report


def a_report(**changes):
    return copy.deepcopy(_whole()) | changes


def changed(section, **values):
    return {section: a_report()[section] | values}


def over_seeds(report):
    runs = {
        str(seed): {"metrics": report["metrics"], "validation": report["metrics"]}
        for seed in (1, 2)
    }
    several = {
        "seeds": runs,
        "chosen_seed": 2,
        "deviations": dict.fromkeys(report["metrics"], 0.05),
    }
    return (
        report
        | several
        | {"temperatures": {"1": 1.5, "2": 0.5}, "temperature": None, "history": []}
    )


def spoken_by(**speakers):
    parts = {part: {"clips": 2, "speakers": own} for part, own in speakers.items()}
    return changed("protocol", parts=parts)


MIXED = spoken_by(
    train=["cremad:1", "emodb:3"], validation=["cremad:2"], test=["cremad:3", "emodb:8"]
)
REPOSITORIES = {
    "location": "someone/toy",
    "report_repo": "someone/toy-report",
    "space": "someone/toy-demo",
}
MIXTURE = {"name": "mixture", "corpora": [{"name": "cremad"}, {"name": "emodb"}]}
# Name -> changes of the report, corpus and model of the recipe, other arguments.
CASES = {
    "acted": ({}, {}, {}),
    "synthetic": ({}, {"corpus": {"name": "synthetic"}}, {}),
    "own table": ({}, {"corpus": {"name": "csv"}}, {}),
    "mixture": (MIXED, {"corpus": MIXTURE}, {}),
    "encoder": (changed("model", **MODEL), {"model": ENCODER}, {}),
    "adapter": (
        changed("model", **MODEL, adapter=True),
        {"model": ENCODER, "lora": {"rank": 4}},
        {},
    ),
    "validation": ({"judged_on": "validation"}, {}, {}),
    "leaky": (changed("protocol", name="random", leak=LEAK), {}, {}),
    "little": (
        {"robustness": None, "temperature": None, "warnings": [], "slices": {}, "foil": None},
        {},
        {},
    ),
    "seeds": ({}, {}, {"over": over_seeds}),
    "folds": ({}, {}, {"over": over_folds}),
    "map": ({}, {}, REPOSITORIES | {"pictures": ["embeddings_by_emotion"]}),
    "published": ({}, {}, REPOSITORIES | {"pictures": ["confusion_matrix", "reliability"]}),
}
every_case = pytest.mark.parametrize("case", CASES)


@functools.cache
def card(case):
    changes, recipe, more = CASES[case]
    return make(changes, recipe, **more)


def make(changes, recipe, over=None, location="runs/toy/model", **more):
    report = a_report(**changes)
    recipe = {"name": "toy", "corpus": {"name": "ravdess"}, "model": {}} | recipe
    runs = Runs(typed(over(report)), typed(report), [2]) if over else None
    made = model_card(runs or typed(report), recipe, location, **more)
    assert check_card(str(made), "model") == []
    return made


def text(case):
    return str(card(case))


def one_line(markdown):
    """As Markdown is rendered: the lines of a paragraph follow each other."""
    return " ".join(str(markdown).split())


def tables(markdown):
    """Rows of each table, without spaces around cells; a table needs an empty line before it, and
    equal rows.
    """
    found = []
    before = ""
    for line in markdown.splitlines():
        if line.startswith("|"):
            if not before.startswith("|"):
                assert not before, "a table needs a blank line before it"
                found.append([])
            found[-1].append([cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]])
        before = line
    for header, rule, *rows in found:
        assert set("".join(rule)) == {"-"}
        assert rows
        assert {len(row) for row in (rule, *rows)} == {len(header)}
    return found


def table(case, *first):
    return next(rows for rows in tables(text(case)) if rows[0][: len(first)] == list(first))


@every_case
def test_the_hub_reads_the_metadata(case):
    data = ModelCard(text(case)).data
    assert (data.pipeline_tag, data.library_name, data.model_name) == (
        "audio-classification",
        "transformers",
        "toy",
    )
    licenses = {"synthetic": "cc0-1.0", "own table": None, "mixture": "other"}
    assert data.license == licenses.get(case, "cc-by-nc-sa-4.0")
    assert data.get("base_model") == (BASE if case in ("encoder", "adapter") else None)
    scores = {result.metric_type: result.metric_value for result in data.eval_results}
    metrics = a_report()["metrics"]
    names = {"recall": "uar", "accuracy": "wa", "f1": "macro_f1"}
    assert scores == {kind: round(metrics[name], 4) for kind, name in names.items()}
    assert {result.dataset_split for result in data.eval_results} == {
        "validation" if case == "validation" else "test"
    }


@every_case
def test_a_card_has_no_gaps(case):
    body = text(case).replace("top_k=None", "")
    for gap in ("None", "{{ ", "{%", "Undefined", "null"):
        assert gap not in body
    assert not re.search(r"\n{3,}", body)
    assert not re.search(r"\(\)|[ \t]\n|^- *$|: *\.", body, flags=re.MULTILINE)
    headings = re.findall(r"^##+ (.*)$", body, flags=re.MULTILINE)
    assert len(set(headings)) == len(headings)
    assert {
        "Training data",
        "Data and splits",
        "Per-class results",
        "Limitations and risks",
        "Cost",
    } <= set(headings)
    assert len(tables(body)) >= 5


@every_case
def test_a_leak_is_the_first_sentence_and_only_code_of_ours_is_trusted(case):
    first = text(case).split("---\n", 2)[2].strip().splitlines()[2]
    assert (first == f"> **Evaluated under a leaky protocol (`random`).** {LEAK}") is (
        case == "leaky"
    )
    assert (", trust_remote_code=True)" in text(case)) is (case not in ("encoder", "adapter"))


def test_tables_have_the_figures():
    report = a_report()
    uar, (low, high) = report["metrics"]["uar"], report["intervals"]["uar"]
    assert table("acted", "metric")[2][:3] == ["UAR", f"{uar:.3f}", f"{low:.3f} to {high:.3f}"]
    assert table("acted", "splits")[0] == [
        "splits",
        "speakers",
        "sentences",
        "recordings",
        "near duplicates",
    ]
    assert table("acted", "splits")[3] == ["train/test", "0", "**2**", "0", "unknown"]
    assert table("acted", "split")[3] == ["validation", "24", "a:40, a:41, a:42, a:43"]
    recall = report["per_class"]["angry"]["recall"]
    assert table("acted", "emotion")[2][2] == f"{recall:.3f}"
    assert table("acted", "degradation")[2][:4] == ["noise", "2", "0.400", "noise at 20 dB"]
    source = table("acted", "corpus", "emotion")
    assert source[2:] == [
        ["a", "happy (H)", "90", "happy"],
        ["b", "calm", "7", "*left out: dropped*"],
    ]
    assert "By speaker, 8 of them: Lowest: b:4 with UAR" in text("acted")
    assert "- near duplicates" not in text("little")


@pytest.mark.parametrize(
    ("corpus", "forbidden"),
    [
        *(({"name": "ravdess"}, True), ({"name": "cremad"}, False), ({"name": "emodb"}, True)),
        *(
            ({"name": "csv", "license": license}, "-nc" in license)
            for license in ("cc-by-nc-4.0", "odbl")
        ),
    ],
)
def test_the_non_commercial_note_follows_the_corpus(corpus, forbidden):
    assert ("forbids commercial use" in one_line(make({}, {"corpus": corpus}))) is forbidden


def test_limitations_name_the_law_and_the_risks():
    for case in ("acted", "mixture", "leaky"):
        section = text(case).partition("## Limitations and risks")[2].partition("\n## ")[0]
        limits = one_line(section)
        for word in (
            "Acted speech",
            "Language and culture",
            "Age and voice",
            "Consent",
            "article 5(1)(f)",
            "50(3)",
        ):
            assert word in limits
    assert "synthetic signals" in text("synthetic")
    assert "telephones and noise, which the results above do not cover" in one_line(text("little"))
    assert "do not cover" not in one_line(text("acted"))


def test_a_mixture_has_each_license_and_the_evaluated_corpora():
    data = card("mixture").data
    assert (data.license_name, data.language) == ("several-licenses-non-commercial", ["en", "de"])
    assert [row[:4] for row in table("mixture", "corpus", "language")[2:]] == [
        ["CREMA-D", "en", "odbl", "not forbidden"],
        ["EMO-DB", "de", "terms of its authors", "forbidden"],
    ]
    items = [{"name": name, "root": f"data/{name}"} for name in ("cremad", "savee", "emodb")]
    report = spoken_by(train=["cremad:1", "savee:DC"], validation=["savee:JK"], test=["emodb:03"])
    report["protocol"]["name"] = "leave_one_corpus_out"
    left_out = make(
        report, {"corpus": {"name": "mixture", "corpora": items}}, location="someone/toy"
    )
    assert left_out.data.license_link == "https://huggingface.co/someone/toy#training-data"
    index = left_out.data.eval_results[0]
    assert (index.dataset_type, index.dataset_name) == ("emodb", "EMO-DB, leave_one_corpus_out")
    trained = str(left_out).partition("## Training data")[2].partition("| split")[0]
    assert "CREMA-D and SAVEE." in trained
    assert "EMO-DB" not in trained
    index = card("mixture").data.eval_results[0]
    assert (index.dataset_type, index.metric_args) == ("mixture", {"average": "macro"})
    assert index.dataset_args == {"protocol": "speaker_independent", "split_sha256": "ab" * 32}


def test_a_metric_without_an_interval_has_a_reason():
    report = a_report()
    intervals = {key: value for key, value in report["intervals"].items() if key != "ece"}
    made = str(
        make({"metrics": report["metrics"] | {"ece": 0.1, "mcc": None}, "intervals": intervals}, {})
    )
    assert "| ECE | 0.100 | – | – |" in made
    assert "ECE has no interval: resampling biases it upwards." in made
    assert "A dash: the metric is undefined for these clips." in made


def test_a_card_shows_the_map_of_embeddings_with_its_silhouette():
    body = text("map").partition("### Map of the embeddings")[2].partition("##")[0]
    ((alt, file),) = re.findall(r"!\[([^]]*)\]\((.*?)\)", body)
    assert file == "embeddings_by_emotion.png"
    assert alt.startswith("PCA of the embeddings of 48 clips, colored by emotion")
    assert "Silhouette of emotions: 0.125." in alt
    assert "Mean silhouette coefficients" in body
    assert "### Map" not in text("published")


def test_a_published_card_has_links_and_pictures():
    body = text("published")
    assert "[Try it in the browser](https://huggingface.co/spaces/someone/toy-demo)" in body
    assert "[The evaluation report](https://huggingface.co/datasets/someone/toy-report)" in body
    assert re.findall(r"!\[[^]]*\]\((.*?)\)", body) == ["confusion_matrix.png", "reliability.png"]
    data = card("published").data
    assert data.eval_results[0].source_url == "https://huggingface.co/datasets/someone/toy-report"
    assert "![" not in text("acted")


def test_a_card_of_several_runs():
    report = a_report()
    own = report["metrics"]["uar"]
    interval = "{:.3f} to {:.3f}".format(*report["intervals"]["uar"])
    weights = "These are the weights of fold 2, which has the best validation score of 2."
    assert weights in one_line(text("folds"))
    rows = table("folds", "metric", "mean")
    assert rows[0][3:] == ["95 % interval of the mean", "pooled predictions", "fold 1", "fold 2"]
    assert rows[2] == ["UAR", f"{own:.3f}", "0.050", interval, *[f"{own:.3f}"] * 3]
    assert table("seeds", "metric", "mean")[0][4:] == ["seed 1", "seed 2"]
    assert f"the mean over 2 seeds is {own:.3f}, standard deviation 0.050" in one_line(
        text("seeds")
    )


def test_the_temperature_and_the_leaky_comparison():
    assert (
        "Temperature 1.5 was fitted on the validation split, but the published model does not"
        in text("acted")
    )
    assert "temperature" not in text("little").lower()
    limit = changed("temperature", value=100.0)
    assert "Temperature 100" not in str(make(limit, {})), "a warning describes it"
    assert (
        "Under the leaky protocol `random`, whose test speakers are training speakers too"
        in text("acted")
    )
    assert "(+0.100). New speakers do not get this result." in one_line(text("acted"))
    worse = changed("foil", gap=dict.fromkeys(a_report()["foil"]["gap"], -0.1))
    assert "(−0.100)." in str(make(worse, {}))


def test_the_recipe_can_be_copied_and_has_no_local_path():
    recipe = {
        "output_dir": "/home/me/runs",
        "model": {"architecture": "crnn"},
        "provenance": {"x": 1},
    }
    recipe["corpus"] = {"name": "ravdess", "root": "/data/RAVDESS"}
    (block,) = re.findall(r"```yaml\n(.*?)```", str(make({}, recipe)), flags=re.DOTALL)
    shown = {
        "name": "toy",
        "corpus": {"name": "ravdess", "root": "RAVDESS"},
        "model": {"architecture": "crnn"},
    }
    assert yaml.safe_load(block) == shown


def test_an_encoder_names_its_base_and_is_cited():
    body = text("encoder")
    assert "\nbase_model_relation: finetune\n" in body
    assert f"Its encoder is wav2vec2 from [{BASE}](https://huggingface.co/{BASE})." in body
    assert "- the encoder: Baevski et al. 2020, [arXiv:2006.11477]" in body
    assert "## The network" not in body
    assert "PeftModel" not in body
    adapter = text("adapter")
    assert f'AutoModelForAudioClassification.from_pretrained("{BASE}", config=config)' in adapter
    assert 'PeftModel.from_pretrained(base, "runs/toy/model", subfolder="adapter")' in adapter


def test_local_checkpoints_and_published_weights(tmp_path):
    (tmp_path / "mine").mkdir()
    local = ENCODER | {"checkpoint": str(tmp_path / "mine")}
    body = str(make(changed("model", **MODEL | {"base_model": None}), {"model": local}))
    assert "base_model" not in body
    assert str(tmp_path) not in body
    assert "from `mine`." in body
    origin = {"file": "weights.pth", "source": "https://example.org", "licence": "MIT"}
    body = str(make(changed("model", architecture="byols", origin=origin), {}))
    assert "Its encoder starts from weights.pth (https://example.org, license: MIT)." in body


def test_a_dataset_of_the_hub_is_linked():
    corpus = {
        "name": "hub",
        "dataset": "someone/voices",
        "revision": "0" * 40,
        "license": "cc-by-4.0",
    }
    data = make({}, {"corpus": corpus}).data
    assert (data.datasets, data.license) == (["someone/voices"], "cc-by-4.0")
    assert data.eval_results[0].dataset_type == "someone/voices"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_network_has_a_description(architecture):
    sentence, about = network_words(architecture)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert about == "" or about.endswith(".")


# Cards of finished runs


@pytest.fixture
def write(tmp_path):
    """A function that writes a run: report.json, recipe.yaml and pictures."""

    def write(report, place="run"):
        folder = tmp_path / place
        (folder / "report").mkdir(parents=True)
        recipe = {"name": "toy", "corpus": {"name": "ravdess"}, "model": {"architecture": "crnn"}}
        (folder / "recipe.yaml").write_text(
            dump_yaml(read_recipe(recipe).to_dict()), encoding="utf-8"
        )
        (folder / "report" / "report.json").write_text(json.dumps(report), encoding="utf-8")
        for name in ("confusion_matrix", "reliability"):
            (folder / "report" / f"{name}.png").write_bytes(place.encode())
        return folder

    return write


def test_a_run_folder_gives_a_card(write):
    run = write(a_report())
    body = str(
        card_of_run(run, "someone/toy", report_repo="someone/toy-report", space="someone/toy-demo")
    )
    assert 'model="someone/toy", trust_remote_code=True' in body
    assert re.findall(r"!\[[^]]*\]\((.*?)\)", body) == ["confusion_matrix.png", "reliability.png"]
    assert "bidirectional LSTM" in body.partition("## Use")[0]
    assert (
        "[arXiv:1609.04243](https://arxiv.org/abs/1609.04243)"
        in body.partition("## The network")[2]
    )
    local = str(card_of_run(run, (run / "model").as_posix(), pictures=False))
    assert f'model="{run}/model"' in local
    assert "![" not in local


def test_the_card_of_several_runs_has_figures_and_pictures_of_the_published_one(write):
    run = write(over_folds(a_report()))
    write(over_seeds(a_report()), "run/fold-2")
    write(a_report(name="deepest"), "run/fold-2/seed-2")
    assert run_report(run).name == "deepest"
    assert {path.read_text() for path in card_pictures(run)} == {"run/fold-2/seed-2"}
    body = one_line(card_of_run(run, "someone/toy"))
    assert (
        "These are the weights of fold 2, seed 2, which has the best validation score of 2" in body
    )
    (run / "fold-2" / "seed-2" / "report" / "report.json").unlink()
    with pytest.raises(
        UserError, match="fold-2/seed-2: no finished run; it has no report/report.json"
    ):
        card_of_run(run, "someone/toy")
