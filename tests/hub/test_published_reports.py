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
from ser_hf.hub.publish import REPORT_OWNED, stage_report
from ser_hf.hub.push import require_no_paths, without_paths
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
from ser_hf.hub.publish import REPORT_OWNED
settings = {"kind": "dataset", "message": "A report", "owned": REPORT_OWNED}
commits = [push(Path(sys.argv[1]), "tester/report", **settings).commit for _ in range(2)]
from datasets import load_dataset
predictions = load_dataset("tester/report")
parts = {part: sorted(set(rows["part"])) for part, rows in predictions.items()}
columns = predictions["test"].column_names
print(json.dumps({"commits": commits, "parts": parts, "columns": columns}))
"""


@pytest.fixture(scope="module")
def run(ravdess_root, tmp_path_factory):
    """Two folds and the foil; players and a warning name the folder of the corpus."""
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
    stage_report(
        run, folder, repo_id="tester/report", model_repo="tester/model", space="tester/space"
    )
    return folder


def test_the_page_links_only_files_in_its_folder(run, staged):
    assert "<audio" in (run / "fold-1" / "report" / "index.html").read_text(encoding="utf-8")
    page = (staged / "index.html").read_text(encoding="utf-8")
    assert "<audio" not in page
    links = {link for link in re.findall(r'(?:href|src)="([^"#]+)"', page) if "://" not in link}
    local = {link for link in links if not link.startswith("data:")}
    assert "report.json" in local
    assert all((staged / link).is_file() for link in local)


def test_no_path_of_this_machine_is_published(run, staged, ravdess_root, tmp_path):
    require_no_paths(staged, [str(ravdess_root), str(run), str(Path.home())])
    everything = b"".join(path.read_bytes() for path in staged.rglob("*.*"))
    for place in (ravdess_root, run, run.parent):
        assert str(place).encode() not in everything
    assert f"{ravdess_root.name}/Actor_01/a.wav is odd" in (staged / "report.json").read_text(
        encoding="utf-8"
    )
    for path in staged.rglob("*.parquet"):
        assert "path" not in pq.read_schema(path).names
    # Tables are searched too, and text in HTML.
    shutil.copyfile(run / "report" / "predictions.parquet", tmp_path / "a.parquet")
    with pytest.raises(UserError, match=rf"a\.parquet: contains .*{ravdess_root.name}"):
        require_no_paths(tmp_path, [str(ravdess_root)])
    assert without_paths('src="/a&amp;b/c/d.wav" /a&b/cd', ["/a&b/c"]) == 'src="c/d.wav" /a&b/cd'


def test_tables_and_card(run, staged):
    report = json.loads((staged / "report.json").read_text(encoding="utf-8"))
    predictions = pq.read_table(staged / "predictions" / "test.parquet").to_pylist()
    assert len(predictions) == sum(map(sum, report["confusion"]))
    right = sum(row["label"] == row["predicted"] for row in predictions)
    assert right == sum(row[i] for i, row in enumerate(report["confusion"]))
    card = (staged / "README.md").read_text(encoding="utf-8")
    assert check_card(card, "dataset") == []
    assert f"**UAR {report['metrics']['uar']:.3f}** on the test speakers" in card
    assert "license: cc-by-nc-sa-4.0" in card
    for content in (
        "huggingface.co/tester/model",
        "huggingface.co/spaces/tester/space",
        report["protocol"]["sha256"],
    ):
        assert content in card
    for absent in ("None", "\n\n\n", "Undefined"):
        assert absent not in card


def files_of(folder):
    """The content of each file below a folder, by its name."""
    content = {}
    for path in folder.rglob("*"):
        if path.is_file():
            content[path.relative_to(folder).as_posix()] = path.read_bytes()
    return content


def test_the_same_run_gives_the_same_bytes(run, staged, tmp_path):
    stage_report(
        run,
        tmp_path / "again",
        repo_id="tester/report",
        model_repo="tester/model",
        space="tester/space",
    )
    files = files_of(staged)
    assert files == files_of(tmp_path / "again")
    for name in files:
        assert any(fnmatch.fnmatchcase(name, pattern) for pattern in REPORT_OWNED), name


def test_pushed_reports_load(staged, tmp_path):
    with LoopbackHub() as hub:
        command = [sys.executable, "-c", PUSH_AND_LOAD, str(staged)]
        environment = os.environ | hub.environment(tmp_path / "home")
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr
        content = json.loads(done.stdout.splitlines()[-1])
        assert content["commits"][0] == content["commits"][1]
        assert content["parts"] == {"test": ["test"], "validation": ["validation"]}
        assert {"id", "label", "predicted", "p_angry", "fold"} <= {*content["columns"]}
        assert not hub.mistakes
