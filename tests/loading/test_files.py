"""Files of a model in a folder: weights and their index, hashes, and messages of libraries."""

import json

import pytest
import torch
from safetensors.torch import save_file

from ser_hf.loading.files import (
    ADAPTER,
    INDEX,
    WEIGHTS,
    find_file,
    find_weights,
    first_line,
    read_table,
    weights_hash,
)
from ser_hf.utils.errors import UserError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def shards(folder, *names):
    for i, name in enumerate(names):
        save_file({f"tensor{i}": torch.full((2,), float(i))}, folder / name)
    weight_map = {f"tensor{i}": name for i, name in enumerate(names)}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def test_a_missing_file_is_none(folder):
    assert find_file(str(folder), "config.json") == str(folder / "config.json")
    assert find_file(str(folder), "preprocessor_config.json") is None


def test_one_file_of_weights_needs_no_index(folder):
    shards(folder, "b.safetensors")
    save_file({"tensor": torch.ones(1)}, folder / WEIGHTS)
    assert list(find_weights(str(folder), "here").paths) == [WEIGHTS]


def test_the_index_names_its_shards(folder):
    shards(folder, "b.safetensors", "a.safetensors")
    files = find_weights(str(folder), "here").paths
    assert list(files) == [INDEX, "a.safetensors", "b.safetensors"]
    assert files["a.safetensors"] == str((folder / "a.safetensors").resolve())


def test_missing_weights_and_shards_are_refused(folder):
    with pytest.raises(UserError, match=rf"^here: no {WEIGHTS};"):
        find_weights(str(folder), "here")
    shards(folder, "a.safetensors")
    (folder / "a.safetensors").unlink()
    with pytest.raises(UserError, match=rf"^here: {INDEX} names 'a.safetensors'"):
        find_weights(str(folder), "here")


def test_an_adapter_beside_weights_is_refused(folder):
    save_file({"tensor": torch.ones(1)}, folder / WEIGHTS)
    (folder / ADAPTER).write_text("{}")
    with pytest.raises(UserError, match=rf"^here: {ADAPTER}:"):
        find_weights(str(folder), "here")


def test_the_hash_is_of_the_weights_alone(folder):
    save_file({"tensor": torch.ones(1)}, folder / WEIGHTS)
    before = weights_hash(folder)
    assert before == weights_hash(folder / WEIGHTS)
    (folder / "config.json").write_text('{"a": 1}')
    assert weights_hash(folder) == before
    save_file({"tensor": torch.zeros(1)}, folder / WEIGHTS)
    assert weights_hash(folder) != before


def test_settings_are_a_table(folder):
    (folder / "config.json").write_text("[1]")
    with pytest.raises(UserError, match=r"config\.json: holds no table"):
        read_table(str(folder / "config.json"))


@pytest.mark.parametrize(
    ("message", "first"),
    [("one.\nfurther advice", "one"), ("", "ValueError"), ("x" * 400, "x" * 300)],
)
def test_messages_of_libraries_are_cut_to_their_first_line(message, first):
    assert first_line(ValueError(message)) == first
