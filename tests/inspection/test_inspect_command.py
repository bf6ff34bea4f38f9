"""`ser-hf inspect`: what it prints, and one line with exit code 2 for each mistake."""

import pytest

from ser_hf import cli
from ser_hf.commands import inspect as command
from ser_hf.testing import write_corpus


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    root = tmp_path_factory.mktemp("small")
    write_corpus("ravdess", root, speakers=2, takes=1)
    return root


def complaint(capsys, *arguments):
    assert cli.main(["inspect", *map(str, arguments)]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def test_the_summary_and_the_default_place(small, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["inspect", "ravdess", str(small), "song=yes", "--examples=0", "--no-near-copies"]) == 0
    printed = capsys.readouterr().out
    assert "RAVDESS: Usable, with 2 warnings to read first." in printed
    assert "16 of the release's 1440 clips readable" in printed
    assert "  warning: 1424 of the release's 1440 clips are missing (98.9 %)." in printed
    assert "read it: inspect-ravdess/index.html" in printed
    assert "song: True" in (tmp_path / "inspect-ravdess" / "index.html").read_text(encoding="utf-8")


def test_a_corpus_without_a_folder(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("ser_hf.inspection.folder._charts", lambda *arguments: [])
    options = ["corpus.speakers=3", "takes=1", "--examples=0", f"--output={tmp_path / 'out'}"]
    assert cli.main(["inspect", "synthetic", *options]) == 0
    assert "18 clips readable" in capsys.readouterr().out


def test_mistakes_are_one_line(small, tmp_path, capsys):
    assert "corpus: 'ravdes' is none of audformat, audiofolder, cremad" in complaint(capsys, "ravdes", small)
    assert "is not a folder" in complaint(capsys, "ravdess", tmp_path / "nowhere")
    assert "corpus.songs: unknown key; the nearest known key is corpus.song" in complaint(
        capsys, "ravdess", small, "songs=true"
    )
    assert "corpus.song: expected true or false" in complaint(capsys, "ravdess", small, "song=maybe")
    assert "an option of the corpus reads key=value" in complaint(capsys, "ravdess", small, "song")
    assert "--examples: expected zero or more" in complaint(capsys, "ravdess", small, "--examples=-1")
    (tmp_path / "thesis.tex").write_text("precious")
    assert "holds files that are not an inspection's" in complaint(capsys, "ravdess", small, "--output", tmp_path)
    assert "corpus.root: missing" in complaint(capsys, "ravdess", "song=true", "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_library_refuses_an_unknown_corpus():
    from ser_hf import UserError
    from ser_hf.inspection import inspect_corpus

    with pytest.raises(UserError, match="corpus.name: 'nonsense' is none of"):
        inspect_corpus("nonsense", ".")


def test_the_example_is_one_that_parses():
    import argparse
    import shlex

    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    parsed = parser.parse_intermixed_args(shlex.split(command.EXAMPLE)[2:])
    assert (parsed.corpus, parsed.options, parsed.output) == ("ravdess", ["song=true"], "inspect-song")


def test_no_torch_is_loaded():
    import subprocess
    import sys

    code = "import sys, ser_hf.inspection; assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
