"""The lists of official files: complete, well formed, equal to their source, in the wheel."""

import configparser
import hashlib
import re
from pathlib import Path, PurePosixPath

import pytest

from ser_hf.corpora import verify
from ser_hf.corpora.verify import manifest, release_of
from ser_hf.utils.errors import UserError

NAMES = ["cremad", "emodb", "ravdess", "savee", "tess"]
FOLDER = Path(verify.__file__).parent / "manifests"


@pytest.mark.parametrize("name", NAMES)
def test_a_list_has_every_file_of_the_release_once_in_order(name):
    entries = manifest(name)
    paths = [entry.path for entry in entries]
    assert len(paths) == len(set(paths)) == release_of(name).files
    assert paths == sorted(paths)
    assert all(not PurePosixPath(path).is_absolute() and path.endswith(".wav") for path in paths)
    assert all(entry.bytes > 44 and re.fullmatch("[0-9a-f]{64}", entry.sha256) for entry in entries)


@pytest.mark.parametrize("name", ["synthetic", "../cremad", ""])
def test_a_corpus_without_a_list_is_refused(name):
    with pytest.raises(
        UserError,
        match="ser_hf has no list of its official files; it has lists of cremad, emodb, ",
    ):
        manifest(name)


def test_every_stored_list_is_named_and_carried_by_the_wheel():
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.tsv.xz" for name in NAMES}
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).parents[2] / "setup.cfg")
    pattern = setup["options.package_data"]["ser_hf.corpora"]
    assert set(FOLDER.parent.glob(pattern)) == set(FOLDER.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_the_packaged_lists_equal_their_source(name, real_corpora):
    rows = (real_corpora("manifests") / f"{name}.tsv").read_text(encoding="utf-8").splitlines()
    assert rows[0] == "path\tbytes\tsha256"
    assert ["\t".join(map(str, entry)) for entry in manifest(name)] == rows[1:]


def test_the_listed_table_is_that_of_the_release(real_corpora):
    folder = real_corpora("CREMA-D-metadata")
    (table,) = release_of("cremad").tables
    content = (folder / table.entry.path).read_bytes()
    assert len(content) == table.entry.bytes
    assert hashlib.sha256(content).hexdigest() == table.entry.sha256
