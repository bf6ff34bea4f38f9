"""Downloads of published weights: resumed, checked, and described, from a local server."""

import dataclasses
import hashlib
import json
import os

import pytest
from corpora.file_server import Server, another, cut, status

from ser_hf import cli
from ser_hf.corpora import connection
from ser_hf.loading.download import check_weights, download_weights, weights_files
from ser_hf.loading.published import PUBLISHED
from ser_hf.utils.errors import UserError

CONTENT = os.urandom(300_000)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(connection, "_RETRIES", 1)
    monkeypatch.setattr(connection, "_PAUSE_SECONDS", 0)


@pytest.fixture
def server():
    with Server() as started:
        yield started


@pytest.fixture
def vggish(server, monkeypatch):
    """The published file of VGGish, replaced by a small file of the server."""
    server.files["/vggish.pth"] = CONTENT
    fake = dataclasses.replace(
        PUBLISHED["ser_vggish"],
        url=f"{server.url}/vggish.pth",
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        megabytes=1,
    )
    monkeypatch.setitem(PUBLISHED, "ser_vggish", fake)
    return fake


def ranges(server):
    """The `Range` header of each request; None where it has none."""
    return [headers.get("Range") for _, _, headers in server.requests]


def test_the_file_is_downloaded_once_and_named_with_its_recipe(vggish, server, tmp_path, capsys):
    folder = tmp_path / "weights"
    for _ in range(2):
        assert cli.main(["download", "weights", "vggish", "--output", str(folder)]) == 0
        line = capsys.readouterr().out.strip()
        path = folder / vggish.file
        assert line == (
            f"{path}: as published (SHA-256 {vggish.sha256}); used by "
            f"`ser-hf train ravdess_vggish model.checkpoint={path}`"
        )
    assert path.read_bytes() == CONTENT
    assert [entry.name for entry in folder.iterdir() if not entry.name.endswith(".lock")] == [
        vggish.file
    ]
    assert len(server.requests) == 1


def test_an_interrupted_download_is_continued_by_the_next_command(vggish, server, tmp_path):
    server.faults["/vggish.pth"] = [cut(100_000), status(500), status(503)]
    with pytest.raises(UserError, match=f"^{vggish.file}: HTTP 5.*; run the same command again"):
        download_weights("vggish", tmp_path)
    assert not (tmp_path / vggish.file).exists()
    server.faults.clear()
    assert download_weights("vggish", tmp_path).path.read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=100000-", "bytes=100000-"]


def test_a_server_that_sends_no_parts_sends_the_whole_file(vggish, server, tmp_path):
    server.has_ranges = False
    server.faults["/vggish.pth"] = [cut(100_000)]
    assert download_weights("vggish", tmp_path).path.read_bytes() == CONTENT


@pytest.mark.parametrize("partial", [CONTENT, CONTENT + b"more", b"other" + CONTENT[5:1000]])
def test_a_partial_file_of_any_content_ends_as_published(vggish, tmp_path, partial):
    staged = tmp_path / ".download" / vggish.file
    staged.parent.mkdir()
    staged.write_bytes(partial)
    assert download_weights("vggish", tmp_path).path.read_bytes() == CONTENT


def test_another_file_of_the_server_is_refused_and_nothing_is_left(vggish, server, tmp_path):
    server.always["/vggish.pth"] = another(b"<html>not found</html>")
    with pytest.raises(UserError, match=r"another file: its SHA-256 is \w+, not " + vggish.sha256):
        download_weights("vggish", tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.suffix != ".lock"] == []


def test_a_file_larger_than_published_is_stopped(vggish, server, tmp_path):
    server.files["/vggish.pth"] = bytes(2_000_000)
    with pytest.raises(UserError, match="announces 2,000,000 bytes, more than 1,100,000"):
        download_weights("vggish", tmp_path)


def test_without_a_connection_one_line_says_what_to_do(vggish, monkeypatch, tmp_path, capsys):
    unreachable = dataclasses.replace(vggish, url="http://127.0.0.1:9/vggish.pth")
    monkeypatch.setitem(PUBLISHED, "ser_vggish", unreachable)
    assert cli.main(["download", "weights", "vggish", "--output", str(tmp_path)]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2  # the first has the license and the size
    assert errors[1] == (
        f"error: {vggish.file}: no connection to 127.0.0.1, or it sends nothing; run the same "
        f"command again to continue, or save {unreachable.url} as {tmp_path / vggish.file}"
    )
    assert [path for path in tmp_path.rglob("*") if path.suffix != ".lock"] == []


def test_a_file_of_the_user_with_other_content_is_not_replaced(vggish, server, tmp_path):
    (tmp_path / vggish.file).write_bytes(b"mine")
    for function in (download_weights, check_weights):
        with pytest.raises(UserError, match="not the published file: its SHA-256 is"):
            function("vggish", tmp_path)
    assert (tmp_path / vggish.file).read_bytes() == b"mine"
    assert server.requests == []


def test_nothing_is_written_through_a_link(vggish, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / ".download").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="a symbolic link"):
        download_weights("vggish", tmp_path / "weights")


def test_the_list_has_each_network_with_its_recipe_and_its_file(vggish, tmp_path, capsys):
    assert cli.main(["download", "weights", "--output", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["byols", "cnn14", "vgg16", "vggish"]
    for line, weights in zip(lines, weights_files(tmp_path), strict=True):
        assert weights.recipe in line
        assert f"{weights.path} (missing; from {weights.source})" in line
    download_weights("vggish", tmp_path)
    assert cli.main(["download", "weights", "--output", str(tmp_path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows if row["exists"]] == ["vggish"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["weights", "vgg"], "vgg: no network with published weights; choose one of byols"),
        (["weights", "byols"], "byols: has no address for downloads; save default512"),
        (["weights", "vggish", "--verify"], "missing; vggish-10086976.pth (SHA-256 "),
        (["weights", "vggish", "--source", "kaggle"], "--source: for corpora only"),
        (["ravdess"], "DIR: missing; name the folder of the corpus"),
    ],
)
def test_a_mistake_is_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["download", *arguments]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert message in errors[0]
    assert list(tmp_path.iterdir()) == []
