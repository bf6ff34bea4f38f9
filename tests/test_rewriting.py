"""Reports of runs that stand, written anew."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from support.html_page import Page
from support.reports import LABELS, over_folds, whole_report

import ser_hf
from ser_hf.experiment.rewriting import rewrite_report


@pytest.fixture
def old_run(tmp_path):
    """A function that writes a run as an older version left it: less in its report, and no page."""

    def write(report, clips, name="run"):
        folder = tmp_path / name
        (folder / "report").mkdir(parents=True)
        kept = ("name", "judged_on", "labels", "protocol", "audit", "metrics", "confusion", "per_class", "deviations")
        (folder / "report" / "report.json").write_text(json.dumps({key: report[key] for key in kept if key in report}))
        pq.write_table(pa.Table.from_pylist(clips), folder / "report" / "predictions.parquet")
        corpus = {"name": "ravdess", "root": "/home/me/RAVDESS", "song": False, "labels": LABELS}
        recipe = {"name": "toy", "corpus": corpus, "output_dir": str(folder), "provenance": {"created": "then"}}
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        return folder

    return write


def clip(part, number, label, **columns):
    return {"id": f"toy/{number}", "part": part, "speaker": "a:1", "label": label, "predicted": label} | columns


def test_an_old_run_gets_its_page(old_run):
    clips = [clip("validation", 1, "sad"), clip("test", 2, "sad"), clip("test", 3, "angry")]
    folder = old_run(whole_report(), clips)
    page = rewrite_report(folder)
    assert page == folder / "report" / "index.html"
    assert pq.read_table(folder / "report" / "predictions.parquet").num_rows == 3
    content = json.loads((folder / "report" / "report.json").read_text())
    assert content["class_distribution"] == {
        "validation": {"angry": 0, "happy": 0, "sad": 1},
        "test": {"angry": 1, "happy": 0, "sad": 1},
    }
    read = Page(page.read_text(encoding="utf-8"))
    assert "Livingstone" in read.text
    assert "root: RAVDESS" in read.text
    assert "/home/me" not in read.text
    assert "provenance" not in read.text


def test_folds_are_counted_each_and_lead_up_and_down(old_run):
    clips = [
        clip(part, 1, "sad", fold=fold, seed=seed) for part in ("train", "test") for fold in (1, 2) for seed in (1, 2)
    ]
    above = old_run(over_folds(whole_report()), clips)
    below = old_run(whole_report(), [clip("test", 1, "sad")], "run/fold-1")
    pages = [rewrite_report(above), rewrite_report(below)]
    content = json.loads((above / "report" / "report.json").read_text())
    assert {fold: sum(counts.values()) for fold, counts in content["class_distribution"].items()} == {
        "fold 1": 1,
        "fold 2": 1,
    }
    hrefs = [{link["href"] for link in Page(page.read_text(encoding="utf-8")).all("a")} for page in pages]
    assert "../fold-1/report/index.html" in hrefs[0]
    assert "../../report/index.html" in hrefs[1]
    assert "../../report/index.html" not in hrefs[0]


def test_a_folder_without_a_judged_run_is_refused(tmp_path):
    with pytest.raises(ser_hf.UserError, match="no run that was judged"):
        rewrite_report(tmp_path)
