"""Files of predictions have a row each, and are written completely or not at all."""

import contextlib
import csv
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from support.close import assert_near
from tiny_models import LABELS

from ser_hf import UserError, predict
from ser_hf.inference.outputs import COLUMNS, METADATA
from ser_hf.inference.writers import check_output, writing


@pytest.fixture(scope="module")
def results(published, recordings):
    return predict(published("crnn"), recordings, embeddings=True, window=0.4)


def write(path, results, key="--output"):
    """Write in two chunks."""
    with writing(path, key, results.metadata) as write_table:
        write_table(results.table[:4])
        write_table(results.table[4:])
        assert not path.exists()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_csv_has_a_column_for_each_label(results, tmp_path):
    write(tmp_path / "x.csv", results)
    with (tmp_path / "x.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        *COLUMNS,
        *(f"{kind}_{label}" for kind in ("p", "logit") for label in LABELS),
    ]
    assert [row["id"] for row in rows] == results.ids
    assert {row["label"] for row in rows} == {""}
    for i, label in enumerate(LABELS):
        for prefix, values in (("p", results.probabilities), ("logit", results.logits)):
            assert_near([float(row[f"{prefix}_{label}"]) for row in rows], values[:, i])


def test_embeddings_are_lists_of_one_size_that_datasets_reads(results, tmp_path):
    write(tmp_path / "x.parquet", results, "--embeddings")
    dataset = Dataset.from_parquet(str(tmp_path / "x.parquet"), cache_dir=str(tmp_path / "cache"))
    assert dataset.features["embedding"].length == results.embeddings.shape[1]
    assert dataset.features["embedding"].feature.dtype == "float32"
    np.testing.assert_array_equal(
        np.asarray(dataset["embedding"][:], dtype=np.float32), results.embeddings
    )
    metadata = json.loads(pq.read_schema(tmp_path / "x.parquet").metadata[METADATA])
    assert metadata["embedding"] == "input of the classifier's last layer"
    assert metadata["revision"].startswith("sha256:")
    assert (metadata["sampling_rate"], metadata["window"]) == (16000, 0.4)


@pytest.mark.parametrize("name", ["x.csv", "x.jsonl", "x.parquet"])
def test_an_error_leaves_the_file_as_it_was(name, results, tmp_path):
    path = tmp_path / name
    path.write_text("before")
    with (
        contextlib.suppress(ZeroDivisionError),
        writing(path, "--output", results.metadata) as write_table,
    ):
        write_table(results.table)
        raise ZeroDivisionError
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert path.read_text() == "before"
    with writing(path, "--output", results.metadata) as write_table:
        write_table(results.table)
        assert path.read_text() == "before"
    assert path.read_bytes() != b"before"
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_file_that_cannot_be_written_is_named(results, tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "x.csv"
    message = r"--output: .*x.csv cannot be written: "
    with pytest.raises(UserError, match=message), writing(path, "--output", results.metadata):
        pass


def test_two_commands_with_one_output_write_it_one_after_the_other(results, tmp_path):
    path = tmp_path / "x.csv"
    with (
        writing(path, "--output", results.metadata) as first,
        writing(path, "--output", results.metadata) as second,
    ):
        first(results.table[:1])
        second(results.table)
        assert len(list(tmp_path.iterdir())) == 2
    assert [file.name for file in tmp_path.iterdir()] == ["x.csv"]
    with path.open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 1, "that of the command which ended last"


def test_a_link_is_written_through(results, tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "x.csv").symlink_to("far/y.txt")
    with writing(tmp_path / "x.csv", "--output", results.metadata) as write_table:
        write_table(results.table)
    assert (tmp_path / "x.csv").is_symlink()
    assert [file.name for file in (tmp_path / "far").iterdir()] == ["y.txt"]
    assert (tmp_path / "far" / "y.txt").read_text(encoding="utf-8").startswith("id,path,")


def test_an_input_is_not_replaced_by_any_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = tmp_path / "c.csv"
    table.write_text("path,label\n")
    (tmp_path / "link.csv").symlink_to("c.csv")
    (tmp_path / "up").symlink_to(".")
    for output in ("c.csv", table, "link.csv", "up/c.csv"):
        for given in ("c.csv", "link.csv"):
            with pytest.raises(UserError, match="^--output: .* is an input"):
                check_output(output, (".csv",), "--output", [given])
    (tmp_path / "null.csv").symlink_to("/dev/null")
    with pytest.raises(UserError, match=r"null\.csv is not a regular file"):
        check_output("null.csv", (".csv",), "--output")


def test_wrong_outputs_are_refused(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    for path, message in [
        ("x.txt", "--output: x.txt: unknown format; choose one of .csv, .jsonl"),
        (tmp_path / "folder.csv", "is not a regular file; name another one"),
        ("./list.csv", "is an input; name another file"),
    ]:
        with pytest.raises(UserError, match=message):
            check_output(path, (".csv", ".jsonl"), "--output", ["list.csv"])
    assert check_output("X.CSV", (".csv",), "--output").name == "X.CSV"
