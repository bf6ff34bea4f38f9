"""Results of checks as lines and as JSON values."""

import json

from ser_hf.doctor import CheckResult, Diagnosis, Fault, Outcome, Problem
from ser_hf.doctor.result import left_out

PASSED = CheckResult("labels", Outcome("2 classes", values={"ratio": 1.0}), 0.04)
FAILED = CheckResult(
    "split", Outcome("no split", [Problem(Fault.NO_SPLIT, "one speaker", "add some")]), 1.0
)
LEFT_OUT = CheckResult("padding", left_out("no split"), 0.0)


def test_a_line_has_status_name_measure_remedy_and_seconds():
    assert PASSED.line().split(maxsplit=2) == ["passed", "labels", "2 classes (0.0 s)"]
    assert FAILED.line().endswith("no-split: one speaker; add some (1.0 s)")
    assert LEFT_OUT.line().startswith("left out  padding ")


def test_a_diagnosis_has_the_faults_of_its_checks():
    diagnosis = Diagnosis("mine", [PASSED, FAILED, LEFT_OUT])
    assert not diagnosis.passed
    assert diagnosis.faults == [Fault.NO_SPLIT]
    assert diagnosis.summary() == "mine: 1 passed, 1 failed, 1 left out in 1 s"
    assert Diagnosis("mine", [PASSED, LEFT_OUT]).passed
    content = json.loads(json.dumps(diagnosis.to_dict()))
    assert content["faults"] == ["no-split"]
    assert [check["status"] for check in content["checks"]] == ["passed", "failed", "left out"]
    assert content["checks"][0]["values"] == {"ratio": 1.0}
