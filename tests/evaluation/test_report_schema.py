"""The schema that a report names: what it says, and that reports keep to it."""

import json
from pathlib import Path

import jsonschema
import pytest
from support.reports import SCHEMA, over_folds, undescribed, whole_report

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def parts_of(schema):
    if isinstance(schema, list):
        for item in schema:
            yield from parts_of(item)
    elif isinstance(schema, dict):
        yield schema
        for value in schema.values():
            yield from parts_of(value)


def test_it_is_a_schema_and_tells_of_every_key():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for part in parts_of(SCHEMA):
        for key, value in part.get("properties", {}).items() if "type" in part else ():
            if "$ref" in value:
                value = {**SCHEMA["$defs"][value["$ref"].rpartition("/")[2]], **value}
            assert value.get("description", "").endswith((".", "report.")), key


@pytest.mark.parametrize("report", [whole_report(), over_folds(whole_report())], ids=["one run", "folds"])
def test_it_describes_all_that_a_report_has(report):
    assert undescribed(report) == []


def test_it_finds_what_is_wrong():
    report = whole_report()
    for damaged in (
        report | {"judged_on": "train"},
        report | {"metrics": {"uar": "0.5"}},
        report | {"intervals": {"uar": [0.1]}},
        {key: value for key, value in report.items() if key != "protocol"},
    ):
        assert list(jsonschema.Draft202012Validator(SCHEMA).iter_errors(damaged))
    assert undescribed(report | {"new_key": 1})


def test_reports_of_older_versions_keep_to_it():
    """Those that the README's figures are of."""
    checked = 0
    for path in RESULTS.glob("*.json"):
        report = json.loads(path.read_text(encoding="utf-8"))
        if "confusion" in report:
            jsonschema.Draft202012Validator(SCHEMA).validate(report)
            checked += 1
    assert checked > 8
