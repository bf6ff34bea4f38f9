"""ser-hf evaluate: options that need or contradict others, each refused in one line."""

import pytest
from support.commands import complaint


@pytest.mark.parametrize(
    ("words", "key"),
    [
        ([], "--corpus"),
        (["--corpus", "synthetic", "--part", "test"], "--protocol"),
        (["--corpus", "synthetic", "--fold", "1"], "--protocol"),
        (["--corpus", "synthetic", "protocol.k=3"], "--protocol"),
        (["--recipe", "quickstart", "--corpus", "synthetic"], "--recipe"),
        (["--recipe", "quickstart", "--protocol", "kfold"], "--recipe"),
        (["--corpus", "synthetic", "--label-map", "happiness"], "--label-map"),
        (["--corpus", "synthetic", "--label-map", "=happy"], "--label-map"),
        (["call.wav", "--reference", "call.csv", "--corpus", "synthetic"], "--corpus"),
        (["call.wav", "--reference", "call.csv", "--robustness"], "--robustness"),
        (["--reference", "call.csv"], "--reference"),
    ],
)
def test_a_mistake_names_its_option(words, key, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = complaint(capsys, "evaluate", "no/model", *words)
    assert line.startswith(f"error: {key}: ")
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_named_by_run_and_corpus_and_other_files_in_it_are_kept(
    capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    notes = tmp_path / "evaluations" / "crnn-on-synthetic" / "notes.txt"
    notes.parent.mkdir(parents=True)
    notes.write_text("keep me")
    (tmp_path / "crnn" / "model").mkdir(parents=True)
    line = complaint(capsys, "evaluate", "crnn/model", "--corpus", "synthetic")
    assert line.startswith("error: --output: ")
    assert "crnn-on-synthetic" in line
    assert notes.read_text() == "keep me"
