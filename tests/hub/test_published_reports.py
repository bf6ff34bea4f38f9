"""Reports on the Hub: links, tables that load, no paths of this machine."""

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.hub import LoopbackHub
from support.hub.cards import check_card

import ser_hf
from ser_hf.hub.push import require_no_paths, without_paths
from ser_hf.hub.report_repository import OWNED, stage_report
from ser_hf.utils.errors import UserError

pytestmark = pytest.mark.slow  # whole runs

OTHERS = ["disgust", "fear", "happy", "neutral", "calm", "surprise"]
RECIPE = {
    "name": "folds",
    "protocol": {"name": "kfold", "k": 2, "validation": 0.3, "seed": 1, "foil": "random"},
    "model": {"architecture": "mfcc_linear"},
    "training": {"seeds": [1]},
    "evaluation": {"bootstrap": 20},
}
PUSH_AND_LOAD = """
import json, sys
from pathlib import Path
from ser_hf.hub.push import push
from ser_hf.hub.report_repository import OWNED
settings = {"kind": "dataset", "message": "A report", "owned": OWNED}
commits = [push(Path(sys.argv[1]), "tester/report", **settings).commit for _ in range(2)]
from datasets import load_dataset
predictions = load_dataset("tester/report", "predictions")
tables = {name: load_dataset("tester/report", name, split="report").num_rows
          for name in ("scores", "slices", "confusion", "metrics")}
print(json.dumps({"commits": commits, "tables": tables,
                  "parts": {part: sorted(set(own["part"])) for part, own in predictions.items()},
                  "columns": predictions["test"].column_names}))
"""


@pytest.fixture(scope="module")
def run(ravdess_root, tmp_path_factory):
    """Two folds and the foil; the corpus stands below the run's own folder, as players and a warning tell."""
    folder = tmp_path_factory.mktemp("home") / "run"
    corpus = {"name": "ravdess", "root": str(ravdess_root), "drop": OTHERS}
    ser_hf.run_recipe({**RECIPE, "corpus": corpus}, [f"output_dir={folder}"])
    content = folder / "report" / "report.json"
    report = json.loads(content.read_text(encoding="utf-8"))
    report["warnings"].append(f"{ravdess_root}/Actor_01/a.wav is odd.")
    content.write_text(json.dumps(report), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def staged(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("staged") / "report"
    stage_report(run, folder, repo_id="tester/report", model_repo="tester/model", space="tester/space")
    return folder


def pages(folder):
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in folder.rglob("*.html")}


def test_pages_of_all_runs_link_each_other_and_nothing_that_is_not_there(run, staged):
    assert "<audio" in (run / "fold-1" / "report" / "index.html").read_text(encoding="utf-8")
    found = pages(staged)
    assert {*found} == {"index.html", "fold-1/index.html", "fold-2/index.html", "foil/index.html"}
    for name, text in found.items():
        links = {link for link in re.findall(r'(?:href|src)="([^"#]+)"', text) if "://" not in link}
        local = {link for link in links if not link.startswith("data:")}
        assert local
        for link in local:
            assert (staged / name).parent.joinpath(link).is_file(), (name, link)
    for below in ("fold-1", "fold-2", "foil"):
        assert f'href="{below}/index.html"' in found["index.html"]
        assert 'href="../index.html"' in found[f"{below}/index.html"]


def test_nothing_of_this_machine(run, staged, ravdess_root, tmp_path):
    require_no_paths(staged, [str(ravdess_root), str(run), str(Path.home())])
    everything = b"".join(path.read_bytes() for path in staged.rglob("*.*"))
    for place in (ravdess_root, run, run.parent):
        assert str(place).encode() not in everything
    assert f"{ravdess_root.name}/Actor_01/a.wav is odd" in (staged / "report.json").read_text(encoding="utf-8")
    for path in staged.rglob("*.parquet"):
        assert "path" not in pq.read_schema(path).names
    # Neither of what is in a table, compressed or not, nor of what text writes otherwise.
    shutil.copyfile(run / "report" / "predictions.parquet", tmp_path / "a.parquet")
    with pytest.raises(UserError, match=rf"a\.parquet: contains .*{ravdess_root.name}"):
        require_no_paths(tmp_path, [str(ravdess_root)])
    assert without_paths('src="/a&amp;b/c/d.wav" /a&b/cd', ["/a&b/c"]) == 'src="c/d.wav" /a&b/cd'


def test_tables_and_card(run, staged):
    report = json.loads((staged / "report.json").read_text(encoding="utf-8"))
    scores = pq.read_table(staged / "scores.parquet").to_pylist()
    judged = {row["run"]: row for row in scores if row["part"] == "test"}
    assert {*judged} == {"all", "fold-1", "fold-2", "foil"}
    assert judged["all"]["uar"] == report["metrics"]["uar"]
    assert [judged["all"]["uar_low"], judged["all"]["uar_high"]] == report["intervals"]["uar"]
    for number, own in report["protocol"]["folds"].items():
        row = judged[f"fold-{number}"]
        assert (row["fold"], row["seed"], row["uar"]) == (int(number), None, own["metrics"]["uar"])
        assert row["chosen"] == (int(number) == report["chosen_fold"])
        assert row["split_sha256"] == own["sha256"]
    assert [row["run"] for row in scores if row["leaky"]] == ["foil"] * sum(row["foil"] for row in scores)
    confusion = pq.read_table(staged / "confusion.parquet").to_pylist()
    assert [row["clips"] for row in confusion] == [count for row in report["confusion"] for count in row]
    answers = pq.read_table(staged / "predictions" / "test.parquet").to_pylist()
    assert len(answers) == sum(row["clips"] for row in confusion)
    right = sum(row["label"] == row["predicted"] for row in answers)
    assert right == sum(row["clips"] for row in confusion if row["label"] == row["predicted"])
    card = (staged / "README.md").read_text(encoding="utf-8")
    assert check_card(card, "dataset") == []
    assert f"**UAR {report['metrics']['uar']:.3f}** on the test speakers" in card
    assert "license: cc-by-nc-sa-4.0" in card
    for content in ("huggingface.co/tester/model", "huggingface.co/spaces/tester/space", report["protocol"]["sha256"]):
        assert content in card
    for absent in ("None", "\n\n\n", "Undefined"):
        assert absent not in card


def test_the_same_run_is_the_same_bytes(run, staged, tmp_path):
    stage_report(run, tmp_path / "again", repo_id="tester/report", model_repo="tester/model", space="tester/space")
    one, other = (
        {path.relative_to(at): path.read_bytes() for path in at.rglob("*.*") if path.is_file()}
        for at in (staged, tmp_path / "again")
    )
    assert one == other
    for name in one:
        assert any(fnmatch.fnmatchcase(name.as_posix(), pattern) for pattern in OWNED), name
    with pytest.raises(UserError, match="no report; name the folder"):
        stage_report(tmp_path, tmp_path / "none", repo_id="tester/report")


def test_pushed_reports_load(staged, tmp_path):
    with LoopbackHub() as hub:
        done = subprocess.run(
            [sys.executable, "-c", PUSH_AND_LOAD, str(staged)],
            env={**os.environ, **hub.environment(tmp_path / "home")},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        content = json.loads(done.stdout.splitlines()[-1])
        assert content["commits"][0] == content["commits"][1]
        assert content["parts"] == {"test": ["test"], "validation": ["validation"]}
        assert {"id", "label", "predicted", "p_angry", "fold"} <= {*content["columns"]}
        assert all(content["tables"].values())
        assert not hub.mistakes
