"""The table of published weights, and the check of a file before anything is loaded."""

import re
import subprocess
import sys

import pytest

from ser_hf.experiment.reading import read_recipe
from ser_hf.loading.published import PUBLISHED, architecture_of, require_published
from ser_hf.loading.transferred import TENSORS
from ser_hf.models import TRANSFERRED
from ser_hf.utils.errors import UserError, one_line
from ser_hf.utils.files import packaged


def test_each_transferred_network_has_a_file_its_tensors_and_a_recipe():
    assert PUBLISHED.keys() == TENSORS.keys()
    assert {architecture_of(model_type) for model_type in PUBLISHED} == set(TRANSFERRED)
    for model_type, published in PUBLISHED.items():
        assert re.fullmatch("[0-9a-f]{64}", published.sha256)
        recipe = read_recipe(packaged("recipes") / f"{published.recipe}.yaml")
        assert recipe.model.architecture == architecture_of(model_type)
        assert recipe.model.checkpoint == f"weights/{published.file}"


def test_the_table_needs_no_torch():
    code = "import sys, ser_hf.loading.published; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("model_type", PUBLISHED)
def test_a_missing_file_is_named_in_one_line_with_its_source_and_sum(model_type):
    published = PUBLISHED[model_type]
    with pytest.raises(UserError) as raised:
        require_published(model_type, f"weights/{published.file}")
    message = one_line(raised.value)  # long messages are cut
    assert message.startswith(f"model.checkpoint: no such file: weights/{published.file}; ")
    assert f"(SHA-256 {published.sha256}) from {published.source}" in message
    command = f"`ser-hf download weights {architecture_of(model_type)}` downloads it "
    assert (command in message) == (published.url is not None)


def test_the_command_for_a_missing_file_names_another_folder():
    with pytest.raises(UserError, match="`ser-hf download weights vggish --output here` downloads"):
        require_published("ser_vggish", f"here/{PUBLISHED['ser_vggish'].file}")


def test_another_pickle_is_refused_by_its_sum(tmp_path):
    (tmp_path / "vggish.pth").write_bytes(b"other")
    with pytest.raises(UserError, match=r"^model\.checkpoint: .*: a pickle, which may run code"):
        require_published("ser_vggish", tmp_path / "vggish.pth")
    (tmp_path / "vggish.safetensors").write_bytes(b"other")  # compared when it is loaded
    require_published("ser_vggish", tmp_path / "vggish.safetensors")
