"""A matrix of models and corpora: cells, what is not computed twice, errors, page, tables."""

import csv
import json

import pytest
from support.hub_twins import TWINS
from support.tasks import InProcess
from support.testing import write_corpus

from ser_hf.cli import main
from ser_hf.experiment import matrix as matrices
from ser_hf.experiment.matrix import evaluate_matrix, matrix_models
from ser_hf.experiment.matrix_page import latex_table, notes, signs_of, table
from ser_hf.utils.errors import UserError

SETTINGS = {"bootstrap": 20, "map": None}


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    folder = tmp_path_factory.mktemp("twins")
    for form in ("ehcalabres", "superb"):
        TWINS[form](folder / form)
    return folder


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpora")
    for name in ("ravdess", "emodb"):
        write_corpus(name, folder / name, speakers=2, takes=1)
    return {name: folder / name for name in ("ravdess", "emodb")}


@pytest.fixture(scope="module")
def written(twins, roots, tmp_path_factory):
    """A matrix of two models by two corpora, and its folder."""
    folder = tmp_path_factory.mktemp("matrix") / "all"
    return evaluate_matrix(
        [twins / "ehcalabres", twins / "superb"], roots, folder, **SETTINGS
    ), folder


def test_each_cell_is_an_evaluation(written):
    matrix, folder = written
    assert matrix.models == ["ehcalabres", "superb"]
    assert matrix.corpora == ["ravdess", "emodb"]
    assert not matrix.failed
    for cell in matrix.cells:
        report = json.loads((folder / cell.folder / "report.json").read_text())
        assert cell.value == report["metrics"]["uar"]
        assert list(cell.interval) == report["intervals"]["uar"]
        counts = report["class_distribution"]["test"]
        assert cell.labels == [name for name in report["labels"] if counts[name]]
        assert (cell.relation, cell.overlap) == ("unknown", "unknown")


def test_cells_side_by_side_are_those_of_one_after_another(written, twins, roots, tmp_path):
    """Missing cells are tasks; the error of one does not end the others, and stays in its cell."""
    expected, _ = written
    folder = tmp_path / "matrix"
    corpora = {**roots, "savee": tmp_path / "missing"}
    models = [twins / "ehcalabres", twins / "superb"]
    jobs = InProcess()
    matrix = evaluate_matrix(models, corpora, folder, jobs=jobs, **SETTINGS)
    assert jobs.names == [
        f"{model} on {corpus}" for model in ("ehcalabres", "superb") for corpus in roots
    ]
    for cell in expected.cells:
        assert matrix.cell(cell.model, cell.corpus) == cell
    assert {cell.corpus for cell in matrix.failed} == {"savee"}

    # A model that cannot be loaded fails in its process.
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{}")
    again = InProcess()
    models = [models[0], tmp_path / "broken"]
    matrix = evaluate_matrix(models, roots, folder, jobs=again, **SETTINGS)
    assert again.names == [f"broken on {corpus}" for corpus in roots]
    assert [cell.model for cell in matrix.failed] == ["broken", "broken"]


def test_page_and_tables_have_all_cells(written):
    matrix, folder = written
    page = (folder / "index.html").read_text()
    rows = list(csv.DictReader((folder / "matrix.csv").open()))
    content = json.loads((folder / "matrix.json").read_text())
    for cell, row, saved in zip(matrix.cells, rows, content["cells"], strict=True):
        assert f"{cell.value:.3f}" in page
        assert f'href="{cell.folder}/index.html"' in page
        assert (row["model"], row["corpus"]) == (cell.model, cell.corpus)
        assert float(row["value"]) == pytest.approx(cell.value)
        assert saved["value"] == cell.value
    latex = (folder / "matrix.tex").read_text()
    assert latex == latex_table(matrix)
    assert "\\toprule" in latex
    assert latex.count(r" \\") == 3
    assert (folder / "matrix.png").read_bytes().startswith(b"\x89PNG")


def test_no_cell_is_computed_twice(written, twins, roots, monkeypatch):
    matrix, folder = written
    monkeypatch.setattr(matrices, "evaluate_on_corpus", None)
    monkeypatch.setattr(matrices, "load_evaluated_model", None)
    again = evaluate_matrix(
        [twins / "ehcalabres", twins / "superb"], roots, folder, batch_size=4, **SETTINGS
    )
    assert again == matrix


def test_what_changes_is_computed_again(twins, roots, tmp_path, monkeypatch):
    evaluated = []

    def counted(model, corpus, name, *arguments, **options):
        evaluated.append(name)
        return evaluate(model, corpus, name, *arguments, **options)

    evaluate = matrices.evaluate_on_corpus
    monkeypatch.setattr(matrices, "evaluate_on_corpus", counted)
    corpus = {"emodb": roots["emodb"]}
    models = [str(twins / "superb")]
    folder = tmp_path / "matrix"
    evaluate_matrix(models, corpus, folder, **SETTINGS)
    evaluate_matrix(models, corpus, folder, **SETTINGS)
    assert len(evaluated) == 1
    evaluate_matrix(models, corpus, folder, bootstrap=30, map=None)
    assert len(evaluated) == 2
    names = ["neutral", "happy", "sad", "angry"]
    named = [{"source": models[0], "label_names": names}]
    evaluate_matrix(named, corpus, folder, **SETTINGS)
    assert len(evaluated) == 3
    fewer = {"emodb": {"root": roots["emodb"], "drop": ["sad"]}}
    evaluate_matrix(models, fewer, folder, **SETTINGS)
    assert len(evaluated) == 4
    evaluate_matrix(models, corpus, folder, overwrite=True, **SETTINGS)
    assert len(evaluated) == 5


def test_an_error_is_named_and_does_not_end_the_others(twins, roots, tmp_path, monkeypatch):
    broken = {**roots, "savee": tmp_path / "nowhere"}
    models = [tmp_path / "missing", twins / "superb"]
    matrix = evaluate_matrix(models, broken, tmp_path / "matrix", **SETTINGS)
    assert [(cell.model, cell.corpus) for cell in matrix.failed] == [
        ("missing", "ravdess"),
        ("missing", "emodb"),
        ("missing", "savee"),
        ("superb", "savee"),
    ]
    assert "missing" in matrix.cell("missing", "ravdess").error
    assert "nowhere" in matrix.cell("superb", "savee").error
    assert matrix.cell("superb", "emodb").value is not None
    assert any("nowhere" in note for note in notes(matrix))
    assert table(matrix)["savee"].tolist() == ["no result", "no result"]

    # An error is not kept: the next call tries the cell again.
    write_corpus("savee", tmp_path / "nowhere", speakers=2, takes=1)
    again = evaluate_matrix(models[1:], broken, tmp_path / "matrix", **SETTINGS)
    assert not again.failed


def test_a_fault_in_a_cell_does_not_end_the_others(twins, roots, tmp_path, monkeypatch):
    def faulty(model, corpus, name, *arguments, **options):
        if "ravdess" in name:
            raise RuntimeError("a fault")
        return evaluate(model, corpus, name, *arguments, **options)

    evaluate = matrices.evaluate_on_corpus
    monkeypatch.setattr(matrices, "evaluate_on_corpus", faulty)
    matrix = evaluate_matrix([twins / "superb"], roots, tmp_path / "matrix", **SETTINGS)
    assert matrix.cell("superb", "ravdess").error == "RuntimeError: a fault"
    assert matrix.cell("superb", "emodb").error is None


def test_marks_of_training_data():
    def cell(relation, overlap, left_out=0):
        return matrices.MatrixCell(
            "a", "b", value=0.5, metric="uar", relation=relation, overlap=overlap, left_out=left_out
        )

    assert signs_of(cell("own", "left out", 12)) == "*-"
    assert signs_of(cell("own", "shared")) == "*!"
    assert signs_of(cell("foreign", "none")) == ""
    assert signs_of(cell("unknown", "unknown")) == "?"


def test_models_have_short_names_that_differ(tmp_path):
    for name in ("a/one/model", "b/one", "two"):
        (tmp_path / name).mkdir(parents=True)
    sources = [tmp_path / "a" / "one" / "model", tmp_path / "b" / "one", "user/two"]
    names = [model.name for model in matrix_models(sources, {})]
    assert names == ["a/one", "b/one", "user/two"]
    with pytest.raises(UserError, match="named twice"):
        matrix_models(["user/two", "user/two"], {})


def test_a_folder_with_other_files_is_refused(twins, roots, tmp_path):
    (tmp_path / "notes.txt").write_text("keep me")
    with pytest.raises(UserError, match=r"^--output: .*notes\.txt"):
        evaluate_matrix([twins / "superb"], roots, tmp_path, **SETTINGS)


def test_the_command_writes_a_matrix(twins, roots, tmp_path, capsys):
    words = [f"--corpus={name}={root}" for name, root in roots.items()]
    models = [str(twins / "superb"), str(twins / "ehcalabres")]
    output = ["--output", str(tmp_path / "matrix"), "--bootstrap", "20", "--map", "none"]
    assert main(["evaluate", *models, *words, *output, "emodb.drop=[sad]"]) == 0
    printed = capsys.readouterr().out
    assert "ehcalabres" in printed
    assert (tmp_path / "matrix" / "index.html").as_uri() in printed
    content = json.loads((tmp_path / "matrix" / "matrix.json").read_text())
    labels = {
        cell["corpus"]: cell["labels"] for cell in content["cells"] if "superb" in cell["model"]
    }
    assert "sad" in labels["ravdess"]
    assert "sad" not in labels["emodb"]
    words[1] = f"--corpus=emodb={tmp_path / 'nowhere'}"
    assert main(["evaluate", *models, *words, *output]) == 1
    assert "nowhere" in capsys.readouterr().out
