"""Data-only copies: what they hold, and what they refuse (also hub/test_untrusted_folders)."""

import json
from pathlib import Path

import pytest
from support.testing import CHECKPOINTS, write_checkpoint

from ser_hf.loading.data_only import data_only, references
from ser_hf.utils.errors import UserError


@pytest.fixture
def folder(tmp_path):
    return Path(write_checkpoint(tmp_path / "model", **CHECKPOINTS["wav2vec2"]))


def test_a_copy_holds_configurations_and_weights_alone(folder):
    (folder / "code.py").write_text("print(1)")
    with data_only(str(folder)) as copy:
        names = {path.name for path in Path(copy.folder).iterdir()}
        assert (copy.commit, copy.names_code) == (None, False)
    assert names == {"config.json", "preprocessor_config.json", "model.safetensors"}
    assert not Path(copy.folder).exists()
    with data_only(str(folder), weights=False) as copy:
        assert not (Path(copy.folder) / "model.safetensors").exists()


def test_errors_name_the_model_in_place_of_its_copy(folder):
    with pytest.raises(OSError, match=str(folder)), data_only(str(folder)) as copy:
        raise OSError(f"{copy.folder} is damaged")


def test_settings_that_take_code_are_found_at_any_depth():
    content = {"a": [{"auto_map": {"AutoModel": "x.Y"}}], "b": {"quantization_config": {}}}
    assert references(content) == [("auto_map", {"AutoModel": "x.Y"})]
    assert references({"feature_extractor_type": "Unheard"}) == [
        ("feature_extractor_type", "Unheard")
    ]
    assert references({"feature_extractor_type": "Wav2Vec2FeatureExtractor"}) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"auto_map": {"AutoModel": "other--code.Model"}}, "takes code or files from elsewhere"),
        ({"num_hidden_layers": 5000}, "num_hidden_layers is 5e"),
    ],
)
def test_configurations_are_checked(folder, change, message):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    expected = pytest.raises(UserError, match=f"^here: config.json.* {message}")
    with expected, data_only(str(folder), where="here"):
        pass


def test_a_missing_folder_is_named():
    expected = pytest.raises(UserError, match=r"^here: no such folder here")
    with expected, data_only("./nowhere", where="here"):
        pass
