"""The typed report and its JSON schema."""

import json

import jsonschema
import pytest
from support.reports import SCHEMA, over_folds, typed, undescribed, whole_report

from ser_hf.evaluation.metrics import METRICS
from ser_hf.evaluation.sections import Slice
from ser_hf.evaluation.tasks import TASKS
from ser_hf.report.report import read_report
from ser_hf.utils.errors import UserError


def parts_of(schema):
    if isinstance(schema, list):
        for item in schema:
            yield from parts_of(item)
    elif isinstance(schema, dict):
        yield schema
        for value in schema.values():
            yield from parts_of(value)


def test_every_key_has_a_description():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for part in parts_of(SCHEMA):
        for key, value in part.get("properties", {}).items() if "type" in part else ():
            if "$ref" in value:
                value = {**SCHEMA["$defs"][value["$ref"].rpartition("/")[2]], **value}
            assert value.get("description", "").endswith("."), key


@pytest.mark.parametrize(
    "report", [whole_report(), over_folds(whole_report())], ids=["one run", "folds"]
)
def test_the_schema_describes_every_key_of_a_report(report):
    assert undescribed(report) == []


def test_the_schema_rejects_wrong_reports():
    report = whole_report()
    for damaged in (
        report | {"judged_on": "train"},
        report | {"metrics": {"uar": "0.5"}},
        report | {"intervals": {"uar": [0.1]}},
        {key: value for key, value in report.items() if key != "protocol"},
    ):
        assert list(jsonschema.Draft202012Validator(SCHEMA).iter_errors(damaged))
    assert undescribed(report | {"new_key": 1})


@pytest.mark.parametrize(
    "report", [whole_report(), over_folds(whole_report())], ids=["one run", "folds"]
)
def test_a_report_keeps_its_keys_and_values(report):
    assert typed(report).to_dict() == json.loads(json.dumps(report))


def test_every_metric_is_described():
    assert set(METRICS) <= set(SCHEMA["properties"]["metrics"]["properties"])


def test_every_headline_metric_is_a_field_of_a_group():
    for task in TASKS.values():
        assert set(task.headline) <= set(Slice.model_fields)


def test_another_file_is_one_error(tmp_path):
    path = tmp_path / "report.json"
    damaged = whole_report()
    damaged["protocol"]["parts"]["test"]["clips"] = "many"
    for content, message in (
        (json.dumps(damaged), "protocol.parts.test.clips: Input should be a valid integer"),
        ("{", "cannot be read as JSON: Expecting"),
        ("[]", "not a report of ser_hf"),
    ):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(UserError, match=f"report.json: .*{message}"):
            read_report(path)
