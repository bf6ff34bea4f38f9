"""ser-hf predict: files, folders and corpora in, a table and embeddings out, a mistake in one line."""

import csv
import json
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from models_asked import LABELS

from ser_hf import cli, predict
from ser_hf.testing import write_corpus


def complaint(capsys, *arguments):
    assert cli.main(["predict", *map(str, arguments)]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def test_help_loads_no_torch():
    code = """
import sys
from ser_hf.cli import main
try:
    main(["predict", "--help"])
except SystemExit:
    pass
assert not {"torch", "transformers", "datasets", "pyarrow"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "example: ser-hf predict" in done.stdout


def test_files_and_folders_are_answered_on_the_terminal(published, recordings, capsys):
    model, files = published("crnn"), [recordings / "a", recordings / "e.wav"]
    assert cli.main(["predict", *map(str, [model, *files]), "--window", "0.4", "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    answers = predict(model, files, window=0.4)
    for line, predicted, probabilities, name in zip(
        lines, answers.predicted, answers.probabilities, answers.ids, strict=True
    ):
        probability, label, path, *windows = line.split(maxsplit=3)
        assert (float(probability), label, path) == (round(float(probabilities.max()), 3), predicted, name)
    assert "(3 windows)" in lines[0]
    assert "windows" not in lines[1]
    assert cli.main(["predict", str(model), str(files[1]), "--window", "0.4", "--by-window"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.rpartition("  ")[2] for line in lines] == ["(0.00-0.25 s)", "(0.25-0.50 s)"]


def test_the_corpus_of_the_runs_recipe_to_a_table_and_embeddings(run, tmp_path, capsys):
    output, embeddings = tmp_path / "answers.csv", tmp_path / "new" / "embeddings.parquet"
    files = ["--output", str(output), "--embeddings", str(embeddings)]
    assert cli.main(["predict", str(run), "--recipe", str(run / "recipe.yaml"), *files]) == 0
    told = capsys.readouterr().out.splitlines()
    with output.open(encoding="utf-8", newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert told[-3:] == [
        f"{len(rows)} clips",
        f"  output: {output}",
        f"  embeddings (what the classifier's last layer is given): {embeddings}",
    ]
    for row in pq.read_table(run / "report" / "predictions.parquet").to_pylist():
        mine = rows[row["id"]]
        assert (mine["label"], mine["predicted"]) == (row["label"], row["predicted"])
        np.testing.assert_allclose(
            [float(mine[f"p_{name}"]) for name in LABELS], [row[f"p_{x}"] for x in LABELS], atol=1e-5
        )
    table = pq.read_table(embeddings)
    assert table["id"].to_pylist() == list(rows)
    assert json.loads(table.schema.metadata[b"ser_hf"])["model"] == str(run)


def test_a_corpus_by_name_and_files_left_out(published, tmp_path, capsys):
    root = tmp_path / "corpus"
    paths = write_corpus("ravdess", root, speakers=1, takes=1)
    paths[0].write_bytes(b"")
    output = tmp_path / "answers.json"
    command = ["predict", str(published("crnn")), "--corpus", "ravdess", "--root", str(root), "corpus.drop=[calm]"]
    assert cli.main([*command, "known_bad=keep", "--output", str(output), "--on-error", "skip"]) == 0
    assert f"{len(paths) - 2} clips, 1 file left out" in capsys.readouterr().out
    rows = json.loads(output.read_text(encoding="utf-8"))
    assert {row["label"] for row in rows} >= {"angry", "surprise"}
    assert "calm" not in {row["label"] for row in rows}
    assert {row["speaker"] for row in rows} == {"ravdess:01"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "INPUT: missing; name audio files, folders or a table, or a corpus with --corpus"),
        (["--root", "x"], "--root: belongs to --corpus or --recipe"),
        (["--corpus", "ravdess", "--recipe", "x.yaml"], "--recipe: names its corpus itself; leave out --corpus"),
        (["--corpus", "ravdess", "clip.wav"], "clip.wav: besides --corpus only key=value"),
        (["--corpus", "ravdess", "root=x"], "root=x: the corpus is named by --corpus, its folder by --root"),
        (["--corpus", "ravdess", "drop=calm"], "corpus.drop: expected a list"),
        (["--corpus", "ravdess", "songs=true"], "corpus.songs: unknown key; the nearest known key is corpus.song"),
        (["--corpus", "ravdes"], "corpus.name: 'ravdes' is none of"),
        (["--recipe", "no.yaml", "--root", "x"], "no.yaml: no such file"),
        (["x.wav", "--output", "x.txt"], "--output: x.txt ends with none of .csv, .json, .parquet"),
        (["x.csv", "--output", "x.csv"], "--output: x.csv is what is to be read"),
        (["--corpus", "csv", "--root", "x.csv", "--output", "x.csv"], "--output: x.csv is what is to be read"),
        (["x.wav", "--embeddings", "x.csv"], "--embeddings: x.csv ends with none of .parquet"),
        (["x.wav", "--output", "x.parquet", "--embeddings", "x.parquet"], "--embeddings: x.parquet is --output too"),
        (["x.wav", "--layer", "-1"], "--layer: says which embeddings"),
        (["x.wav"], "x.wav: no such file or folder"),
    ],
)
def test_a_mistake_is_one_line(words, told, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert told in complaint(capsys, "no/model", *words)
    assert not list(tmp_path.iterdir())
