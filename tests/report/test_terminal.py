"""What the commands print when they end."""

from pathlib import Path

import pandas as pd
from support.reports import over_folds, typed, whole_report

from ser_hf.report.terminal import (
    comparison_summary,
    evaluation_summary,
    export_summary,
    inspection_summary,
    reproduction_summary,
    train_summary,
)


def test_the_summary_of_a_run_on_validation_names_the_evaluation_on_test():
    ends = [
        train_summary(typed(whole_report(judged_on=part, output_dir="runs/x")))
        for part in ("test", "validation")
    ]
    assert ["ser-hf publish runs/x" in end for end in ends] == [True, False]
    assert "ser-hf train runs/x/recipe.yaml evaluation.part=test --output runs/x_test" in ends[1]


def test_a_run_ends_with_its_score_splits_and_next_steps():
    lines = train_summary(typed(whole_report(output_dir="runs/x"))).splitlines()
    assert lines[1].startswith("toy: UAR 0.")
    assert "95 % interval" in lines[1]
    assert any(line.startswith("    train: 96 clips, speakers: 16") for line in lines)
    assert any("foil: under the leaky protocol random" in line for line in lines)
    assert any('model="runs/x/model", trust_remote_code=True' in line for line in lines)


def test_a_leak_and_the_number_of_folds_are_named():
    report = over_folds(whole_report(output_dir="runs/x"))
    report["protocol"]["leak"] = "Known speakers."
    text = train_summary(typed(report))
    assert "LEAKY: Known speakers." in text
    assert "mean of 2 folds, standard deviation 0.050" in text
    assert "pooled predictions of all folds: UAR" in text


def test_an_evaluation_ends_with_its_clips_and_warnings():
    text = evaluation_summary(typed(whole_report(warnings=["Few speakers."])))
    assert "48 clips of 8 speakers, 3 labels" in text
    assert text.endswith("Few speakers.")


def test_a_comparison_shows_tables_that_have_rows_and_warnings():
    text = comparison_summary([pd.DataFrame({"run": ["a"]}), pd.DataFrame()], ["Other splits."])
    assert text.split() == ["run", "a", "warning:", "Other", "splits."]


def test_an_inspection_lists_some_files_of_errors():
    finding = {"text": "Unreadable.", "files": [(f"{i}.wav", "damaged") for i in range(5)]}
    text = inspection_summary(
        {
            "corpus": {"title": "Toy"},
            "verdict": {"text": "Not usable."},
            "counts": {"readable_clips": 3, "hours": 0.5, "speakers": 2, "labels": 2},
            "findings": [finding | {"level": "error"}, finding | {"level": "note"}],
        }
    )
    assert "Toy: Not usable." in text
    assert text.count("damaged") == 3


REPRODUCED = {
    "name": "toy",
    "source": "runs/x",
    "output_dir": "runs/y",
    "protocol": {
        "name": "kfold",
        "sha256": {"saved": "a" * 64, "now": "a" * 64, "equal": True},
        "clips": {"equal": None},
    },
    "recipe": {"seed": {"saved": 1, "now": 2}},
    "environment": {},
    "incomparable": [],
    "figures": [{"metric": "UAR", "saved": 0.5, "now": 0.51}],
    "missing": [],
    "predictions": 0.98,
    "trained": True,
    "verdict": "not reproduced",
}


def test_a_reproduction_ends_with_its_verdict():
    lines = reproduction_summary(REPRODUCED).splitlines()
    assert lines[-1] == "not reproduced"
    assert "their content was not recorded" in lines[2]
    assert "  another recipe: seed 1 -> 2" in lines
    assert "  same predicted class: 98 % of the clips" in lines
    assert "0.5100" in "".join(lines)


def test_a_reproduction_on_another_split_has_no_figures():
    protocol = REPRODUCED["protocol"] | {
        "sha256": {"saved": "a" * 64, "now": "b" * 64, "equal": False}
    }
    changes = {"protocol": protocol, "incomparable": ["another split"], "trained": False}
    text = reproduction_summary(REPRODUCED | changes)
    assert "ANOTHER SPLIT" in text
    assert "figures cannot be compared: another split" in text
    assert "0.5100" not in text
    assert "nothing was trained or written" in text


def exported_file(path, size, changed):
    return {
        "path": Path(path),
        "bytes": size,
        "difference": {"logits": 1e-5, "probabilities": 2e-6, "changed": changed, "clips": 8},
        "padded": True,
        "milliseconds": 3.25,
    }


def test_an_export_ends_with_each_file_and_how_to_run_the_smallest():
    files = {
        "onnx": exported_file("m.onnx", 2_500_000, changed=0),
        "int8": exported_file("m.int8.onnx", 700_000, changed=1),
    }
    export = {
        "files": files,
        "compared_on": "clips of its evaluation",
        "milliseconds": 5.0,
        "script": Path("run_onnx.py"),
    }
    lines = export_summary(export).splitlines()
    assert lines[0] == "compared on 8 clips of its evaluation:"
    assert lines[1].startswith(
        "m.onnx: 2.50 MB, 3.2 ms a clip; alone and padded: logits up to 1e-05"
    )
    assert "another label" not in lines[1]
    assert lines[2].startswith("m.int8.onnx: 0.70 MB")
    assert lines[2].endswith("another label for 1")
    assert "5.0 ms a clip" in lines[3]
    assert lines[4].endswith("python run_onnx.py m.int8.onnx recording.wav")
