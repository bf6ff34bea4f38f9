"""Downloads of copies on Kaggle: through a package in place of kagglehub, and through kagglehub
itself where it is installed.
"""

import json
import subprocess
import sys

import file_server
import pytest
from support.layouts import write_mirror

from ser_hf import cli
from ser_hf.corpora import load_corpus, verify
from ser_hf.corpora.registry import OWN_CORPORA
from ser_hf.corpora.release import KaggleDataset
from ser_hf.corpora.verify import release_of

SAVEE = {"AudioData/DC/a01.wav": b"DC angry", "AudioData/KL/sa15.wav": b"KL sad"}


@pytest.fixture
def release(monkeypatch):
    """A small release of RAVDESS, which replaces its packaged list."""
    small_release = file_server.Release("ravdess")
    monkeypatch.setattr(verify, "_entries", lambda name: small_release.entries)
    return small_release


@pytest.fixture
def kagglehub(tmp_path, monkeypatch):
    """A function that installs a package in place of kagglehub, whose `dataset_download` has these
    lines.
    """

    def install(*lines):
        package = tmp_path / "site" / "kagglehub"
        package.mkdir(parents=True)
        body = "\n    ".join(lines)
        (package / "__init__.py").write_text(
            "class UnauthenticatedError(Exception):\n    pass\n\n\n"
            f'def dataset_download(handle):\n    print("Downloading", handle)\n    {body}\n',
            encoding="utf-8",
        )
        monkeypatch.syspath_prepend(package.parent)

    monkeypatch.delitem(sys.modules, "kagglehub", raising=False)
    yield install
    sys.modules.pop("kagglehub", None)


@pytest.fixture
def command(capsys):
    """Run ``ser-hf download``; return its exit code, its output and its error lines."""

    def run(*arguments):
        capsys.readouterr()
        code = cli.main(["download", *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, [line for line in err.splitlines() if line.startswith("error: ")]

    return run


def test_every_corpus_with_a_list_has_a_dataset_on_kaggle():
    for name in OWN_CORPORA:
        stated = release_of(name)
        assert (stated.kaggle is None) == (stated.files is None)
        assert "kaggle" not in {source.name for source in stated.sources}
        if stated.kaggle is not None:
            owner, _, dataset = stated.kaggle.handle.partition("/")
            assert owner
            assert dataset
    assert release_of("cremad").kaggle == KaggleDataset("ejlok1/cremad")


@pytest.mark.parametrize("layout", ["ravdess: doubled", "ravdess: flat"])
def test_a_copy_becomes_the_official_layout(layout, release, kagglehub, command, tmp_path):
    copy = tmp_path / "cache"
    write_mirror(layout, copy, release.files)
    (copy / "noise.wav").write_bytes(bytes(3000))
    kagglehub(f"return {str(copy)!r}")
    folder = tmp_path / "RAVDESS"
    code, out, errors = command("ravdess", folder, "--source", "kaggle")
    assert (code, errors) == (0, [])
    # The line that the package prints is not in the output.
    assert out == f"{folder}: RAVDESS is complete, 8 files as released\n"
    assert release.is_in(folder)
    assert len(load_corpus("ravdess", folder)) == 8


def test_the_output_is_json(release, kagglehub, command, tmp_path):
    write_mirror("ravdess: flat", tmp_path / "cache", release.files)
    kagglehub(f"return {str(tmp_path / 'cache')!r}")
    code, out, _ = command("ravdess", tmp_path / "RAVDESS", "--source", "kaggle", "--json")
    assert code == 0
    assert json.loads(out)["missing"] == []


def test_renamed_files_are_accepted_and_altered_ones_refused(release, kagglehub, command, tmp_path):
    copy = tmp_path / "cache"
    copy.mkdir()
    for number, content in enumerate(release.files.values()):
        (copy / f"{number}.wav").write_bytes(content)
    (copy / "0.wav").write_bytes(bytes(len(release.files[next(iter(release.files))])))
    kagglehub(f"return {str(copy)!r}")
    folder = tmp_path / "RAVDESS"
    code, _, (error,) = command("ravdess", folder, "--source", "kaggle")
    assert code == 2
    assert "1 files could not be downloaded (kaggle does not have Actor_01/" in error
    assert not list(folder.rglob("*.wav"))
    (copy / "0.wav").write_bytes(next(iter(release.files.values())))
    assert command("ravdess", folder, "--source", "kaggle")[0] == 0
    assert release.is_in(folder)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("raise ConnectionError('Name or service not known')", "Name or service not known"),
        ("raise UnauthenticatedError('no user')", "no user; log in with kagglehub.login()"),
        ("raise ValueError", "ValueError"),
    ],
)
def test_a_failure_is_one_line(line, reason, release, kagglehub, command, tmp_path):
    kagglehub(line)
    code, _, (error,) = command("ravdess", tmp_path / "RAVDESS", "--source", "kaggle")
    assert code == 2
    assert "(kaggle: uwrfkaggler/ravdess-emotional-speech-audio: " in error
    assert reason in error


def test_without_kagglehub_nothing_is_written(release, command, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, _, (error,) = command("ravdess", tmp_path / "RAVDESS", "--source", "kaggle")
    assert code == 2
    assert error.endswith('kagglehub is not installed: pip install "ser_hf[kaggle]"')
    assert not (tmp_path / "RAVDESS").exists()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (
            ["ravdess", "x", "--source", "mirror"],
            "--source: ravdess has no source 'mirror'; choose",
        ),
        (["ravdess", ".", "--source", "kaggle", "--verify"], "--source: --verify downloads"),
        (["iemocap", "x", "--source", "kaggle"], "--source: iemocap has no source 'kaggle'"),
        (["csv", "x", "--source", "kaggle"], "csv: cannot be downloaded: no source"),
    ],
)
def test_mistakes_are_one_line(arguments, error, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, errors = command(*arguments)
    assert code == 2
    assert errors[0].startswith(f"error: {error}")


def test_a_corpus_that_needs_a_registration_says_so(
    kagglehub, command, tmp_path, monkeypatch, caplog
):
    entries = file_server.entries_of(SAVEE)
    monkeypatch.setattr(verify, "_entries", lambda name: entries)
    write_mirror("savee: ALL", tmp_path / "cache", SAVEE)
    kagglehub(f"return {str(tmp_path / 'cache')!r}")
    code, _, _ = command("savee", tmp_path / "SAVEE", "--source", "kaggle")
    assert code == 0
    assert (tmp_path / "SAVEE" / "AudioData" / "KL" / "sa15.wav").read_bytes() == b"KL sad"
    assert "SAVEE: its authors ask for a registration at http" in caplog.text


@pytest.mark.slow
def test_kagglehub_itself_fails_with_one_line(tmp_path):
    pytest.importorskip("kagglehub")
    # A proxy that does not exist stands for a machine without network.
    script = (
        "import os, sys\n"
        "os.environ['HTTPS_PROXY'] = os.environ['https_proxy'] = 'http://127.0.0.1:9'\n"
        "from ser_hf import cli\n"
        "sys.exit(cli.main(['download', 'savee', sys.argv[1], '--source', 'kaggle']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "SAVEE")], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert (
        "(kaggle: ejlok1/surrey-audiovisual-expressed-emotion-savee: Kaggle cannot be reached: "
    ) in error
