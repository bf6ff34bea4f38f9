"""The three kinds of file hold the same rows, and stand whole or not at all."""

import contextlib
import csv
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from models_asked import LABELS

from ser_hf import UserError, predict
from ser_hf.prediction.files import check_output, flat_names, writing
from ser_hf.prediction.tables import read_facts


@pytest.fixture(scope="module")
def answers(published, recordings):
    return predict(published("crnn"), recordings, embeddings=True, window=0.4)


def write(path, answers, key="--output"):
    """In two pieces, as chunks come."""
    with writing(path, key, LABELS) as write_table:
        write_table(answers.table[:4])
        write_table(answers.table[4:])
        assert not path.exists()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_csv_and_parquet_have_a_column_for_each_label(answers, tmp_path):
    write(tmp_path / "csv" / "x.csv", answers)
    with (tmp_path / "csv" / "x.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    write(tmp_path / "parquet" / "x.parquet", answers)
    table = pq.read_table(tmp_path / "parquet" / "x.parquet")
    assert list(rows[0]) == table.column_names == flat_names(LABELS)
    assert read_facts(table.schema)["labels"] == LABELS
    assert [row["id"] for row in rows] == table["id"].to_pylist() == answers.ids
    assert {row["label"] for row in rows} == {""}
    for i, label in enumerate(LABELS):
        np.testing.assert_array_equal(table[f"p_{label}"].to_numpy(), answers.probabilities[:, i])
        for prefix, values in (("p", answers.probabilities), ("logit", answers.logits)):
            written = [float(row[f"{prefix}_{label}"]) for row in rows]
            np.testing.assert_allclose(written, values[:, i], rtol=1e-6)


def test_json_is_a_list_of_objects(answers, tmp_path):
    write(tmp_path / "x.json", answers)
    rows = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    assert [row["id"] for row in rows] == answers.ids
    assert rows[0]["label"] is None
    assert list(rows[0]["probabilities"]) == LABELS
    np.testing.assert_allclose([list(row["logits"].values()) for row in rows], answers.logits, rtol=1e-6)


def test_embeddings_are_lists_of_one_size_that_datasets_reads(answers, tmp_path):
    write(tmp_path / "x.parquet", answers, "--embeddings")
    dataset = Dataset.from_parquet(str(tmp_path / "x.parquet"), cache_dir=str(tmp_path / "cache"))
    assert dataset.features["embedding"].length == answers.embeddings.shape[1]
    assert dataset.features["embedding"].feature.dtype == "float32"
    np.testing.assert_array_equal(np.asarray(dataset["embedding"][:], dtype=np.float32), answers.embeddings)
    facts = read_facts(pq.read_schema(tmp_path / "x.parquet"))
    assert facts["embedding"] == "what the classifier's last layer is given"
    assert facts["revision"].startswith("sha256:")
    assert (facts["sampling_rate"], facts["layer"], facts["window"]) == (16000, None, 0.4)


@pytest.mark.parametrize("name", ["x.csv", "x.json", "x.parquet"])
def test_what_goes_wrong_leaves_what_stood(name, answers, tmp_path):
    path = tmp_path / name
    path.write_text("before")
    with contextlib.suppress(ZeroDivisionError), writing(path, "--output", LABELS) as write_table:
        write_table(answers.table)
        raise ZeroDivisionError
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert path.read_text() == "before"
    with writing(path, "--output", LABELS) as write_table:
        write_table(answers.table)
        assert path.read_text() == "before"
    assert path.read_bytes() != b"before"
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_file_that_cannot_be_written_is_told(answers, tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "x.csv"
    with pytest.raises(UserError, match=r"--output: .*x.csv cannot be written: "), writing(path, "--output", LABELS):
        pass


def test_where_nothing_may_be_written_is_told(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    for path, told in [
        ("x.txt", "--output: x.txt ends with none of .csv, .json"),
        (tmp_path / "folder.csv", "is a folder; name a file"),
        ("./list.csv", "is what is to be read; name another file"),
    ]:
        with pytest.raises(UserError, match=told):
            check_output(path, (".csv", ".json"), "--output", ["list.csv"])
    assert check_output("X.CSV", (".csv",), "--output").name == "X.CSV"
