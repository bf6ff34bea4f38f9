"""`corpus.download: true` in recipes: what is looked at before anything comes, and what comes."""

import hashlib

import pytest
from small_release import zipped

from ser_hf.download import complete
from ser_hf.download.sources import Archive
from ser_hf.errors import UserError


@pytest.fixture
def ravdess(release, server, sourced):
    """A small release in one archive of the server."""
    ours = release()
    content = zipped(ours.files)
    server.files["/a.zip"] = content
    sourced("ravdess", Archive("official", f"{server.url}/a.zip", len(content), hashlib.md5(content).hexdigest()))
    return ours


@pytest.fixture
def read():
    """Reads the corpus of a recipe with these settings."""
    from ser_hf.material import corpus_of
    from ser_hf.recipe import read_recipe

    def run(name="ravdess", **settings):
        corpus = {"name": name, "download": True, **settings}
        recipe = read_recipe({"name": "x", "corpus": corpus, "model": {"architecture": "crnn"}, "output_dir": "x"})
        assert "download: true" in recipe.to_yaml()
        return corpus_of(recipe)

    return run


def test_a_recipe_downloads_what_is_missing(ravdess, server, tmp_path):
    complete("ravdess", str(tmp_path), {})
    assert ravdess.is_in(tmp_path)
    asked = len(server.asked)
    complete("ravdess", str(tmp_path), {})
    assert len(server.asked) == asked


def test_the_corpora_of_a_mixture_are_downloaded_each_into_its_folder(ravdess, tmp_path):
    savee = tmp_path / "savee"
    savee.mkdir()
    (savee / "DC_a01.wav").write_bytes(b"audio of one's own")
    items = [
        {"name": "ravdess", "root": str(tmp_path / "ravdess"), "song": False},
        {"name": "savee", "root": str(savee)},
    ]
    complete("mixture", None, {"corpora": items})
    assert ravdess.is_in(tmp_path / "ravdess")


@pytest.mark.parametrize(
    "other",
    [{"name": "hub", "dataset": "a/b"}, {"name": "csv", "root": "clips.csv"}, {"name": "synthetic"}],
    ids=lambda item: item["name"],
)
def test_corpora_that_come_from_elsewhere_are_left_to_their_parsers(other, ravdess, tmp_path):
    complete("mixture", None, {"corpora": [{"name": "ravdess", "root": str(tmp_path)}, other]})
    assert ravdess.is_in(tmp_path)
    options = {key: value for key, value in other.items() if key not in ("name", "root")}
    complete(other["name"], other.get("root"), options)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"name": "savee", "root": "savee"}, r"corpus.corpora\[1\].download: savee: cannot be downloaded: its"),
        ({"name": "tess"}, r"corpus.corpora\[1\].root: missing; name the folder to download TESS into"),
        ({"name": "tess", "root": ""}, r"corpus.corpora\[1\].root: empty"),
        ({"name": "tess", "root": "x", "typo": 1}, r"corpus.corpora\[1\].typo"),
        ({"root": "x"}, r"corpus.corpora\[1\].name: None is none of"),
    ],
)
def test_all_of_a_mixture_is_looked_at_before_anything_comes(other, told, ravdess, server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"^{told}"):
        complete("mixture", None, {"corpora": [{"name": "ravdess", "root": "r"}, other]})
    assert not server.asked


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"labels": ["angry", "angryy"]}, "corpus.labels: 'angryy' is no canonical emotion"),
        ({"merge": {"clam": "neutral"}}, "corpus.merge: 'clam' is no canonical emotion"),
        ({"drop": ["clam"]}, "corpus.drop: 'clam' is no canonical emotion"),
        ({"song": True}, "corpus.download: brings the spoken part, and corpus.song is true"),
    ],
)
def test_what_is_wrong_with_a_recipe_is_told_before_anything_comes(setting, told, ravdess, server, read, tmp_path):
    with pytest.raises(UserError, match=f"^{told}"):
        read(root=str(tmp_path), **setting)
    assert not server.asked


@pytest.mark.parametrize("mixed", [False, True])
def test_the_users_own_folder_is_meant_by_its_sign(mixed, ravdess, read, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    one = {"name": "ravdess", "root": "~/RAVDESS"}
    assert len(read(**({"name": "mixture", "corpora": [one]} if mixed else one))) == 8
    assert ravdess.is_in(tmp_path / "home" / "RAVDESS")
    assert not (tmp_path / "~").exists()


def test_what_a_recipe_cannot_download_must_be_there(ravdess, tmp_path):
    with pytest.raises(UserError, match="savee: cannot be downloaded: its makers send it"):
        complete("savee", str(tmp_path), {})
    with pytest.raises(UserError, match="iemocap: cannot be downloaded"):
        complete("iemocap", None, {})
    with pytest.raises(UserError, match="corpus.root: missing; name the folder to download RAVDESS into"):
        complete("ravdess", None, {})


def test_a_recipe_is_told_of_files_that_are_not_the_releases(ravdess, tmp_path, caplog):
    ravdess.write(tmp_path)
    path = next(tmp_path.rglob("*.wav"))
    path.write_bytes(b"edited")
    complete("ravdess", str(tmp_path), {})
    assert "of 8 files: 1 altered or damaged" in caplog.text


def test_sung_clips_are_not_promised(ravdess, tmp_path):
    with pytest.raises(
        UserError, match="corpus.song is true; unpack Audio_Song_Actors_01-24.zip of https://zenodo.org"
    ):
        complete("ravdess", str(tmp_path), {"song": True})
    (tmp_path / "noise.wav").write_bytes(b"no song")
    with pytest.raises(UserError, match="corpus.song is true"):
        complete("ravdess", str(tmp_path), {"song": True})
    (tmp_path / "03-02-05-01-01-01-01.wav").write_bytes(b"sung")
    complete("ravdess", str(tmp_path), {"song": True})


def test_corpus_download_in_a_recipe(ravdess, read, tmp_path):
    assert len(read(root=str(tmp_path))) == len(ravdess.files)
    assert ravdess.is_in(tmp_path)
