"""ser-hf doctor: lines, exit codes and files."""

import json

import yaml
from support.commands import complaint
from support.doctor import HEALTHY, QUICK_CRNN, write_clips

from ser_hf import cli
from ser_hf.doctor import CHECKS


def recipe_file(folder, **sections):
    file = folder / "checked.yaml"
    file.write_text(yaml.safe_dump(HEALTHY | sections))
    return str(file)


def test_a_healthy_recipe_passes_every_check(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("ser_hf.doctor.recordings._PITCH_CLIPS", 16)  # pitch tracking is slow
    result = tmp_path / "new" / "checks.json"
    words = ["doctor", recipe_file(tmp_path, model=QUICK_CRNN)]
    assert cli.main([*words, "--output", str(result), "--seconds", "600"]) == 0
    *lines, summary = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["passed"] * len(CHECKS)
    assert summary.startswith(f"checked: {len(CHECKS)} passed, 0 failed, 0 left out")
    content = json.loads(result.read_text())
    assert content["passed"] is True
    assert [check["name"] for check in content["checks"]] == [check.name for check in CHECKS]


def test_a_fault_is_exit_code_1_and_one_json_object(tmp_path, capsys):
    def one_speaker(row):
        return row | {"speaker": "anna"}

    table = write_clips(tmp_path, speakers=3, takes=1, edit=one_speaker)
    recipe = recipe_file(tmp_path, corpus={"name": "csv", "root": str(table)})
    assert cli.main(["doctor", recipe, "--json"]) == 1
    content = json.loads(capsys.readouterr().out)
    assert content["faults"] == ["one-speaker", "no-split"]
    assert content["passed"] is False


def test_mistakes_of_the_user_are_exit_code_2(tmp_path, capsys):
    recipe = recipe_file(tmp_path)
    assert "training.learnin" in complaint(capsys, "doctor", recipe, "training.learnin=1")
    assert "--output" in complaint(capsys, "doctor", recipe, "--output", "checks.txt")
    assert "--seconds" in complaint(capsys, "doctor", recipe, "--seconds", "0")
