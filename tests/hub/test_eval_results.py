"""The file by which the leaderboard of a benchmark on the Hub shows a model's result."""

import re

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries
from support.reports import typed, whole_report

from ser_hf.experiment.reading import read_recipe
from ser_hf.hub.eval_results import Benchmark, write_result
from ser_hf.utils.errors import UserError


def report(judged_on="test", **protocol):
    values = whole_report(judged_on=judged_on)
    values["protocol"] |= protocol
    return typed(values)


def test_the_client_of_the_hub_reads_the_result(tmp_path):
    toy = report(fold="s1", sha256="0123456789abcdef" * 4)
    path = write_result(tmp_path, toy, Benchmark.from_text("someone/SER_bench:ravdess"))
    assert path == tmp_path / ".eval_results" / "ser-bench.yaml"

    (entry,) = parse_eval_result_entries(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert entry.dataset_id == "someone/SER_bench"
    assert entry.task_id == "ravdess"
    assert entry.value == round(toy.metrics["uar"], 4)
    assert "UAR" in entry.notes
    assert "protocol speaker_independent, fold s1" in entry.notes
    assert entry.notes.endswith("split 0123456789abcdef")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"judged_on": "validation"}, "someone/bench .* evaluated on validation"),
        ({"name": "random", "leak": "Leaky."}, r"someone/bench .* leaks \(random\)"),
    ],
)
def test_only_results_of_test_speakers_without_a_leak_are_written(tmp_path, changes, problem):
    with pytest.raises(UserError, match=rf"^hub\.benchmark: {problem}"):
        write_result(tmp_path, report(**changes), Benchmark("someone/bench"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["bench", "a/b/c", "a/b:", "../x", "a/b:c/d", ""])
def test_another_name_is_refused(text):
    with pytest.raises(UserError, match=rf"^hub\.benchmark: .*{re.escape(repr(text))}"):
        Benchmark.from_text(text)


def test_a_task_is_the_default_one_if_it_is_not_named():
    assert Benchmark.from_text("a/b") == Benchmark("a/b", "default")


def test_a_recipe_that_has_no_test_result_is_refused_before_training():
    hub = {"repo": "tester/tiny", "benchmark": "someone/bench"}
    with pytest.raises(UserError, match=r"^hub\.benchmark: .*evaluation\.part: validation"):
        read_recipe(
            {
                "name": "toy",
                "corpus": {"name": "synthetic"},
                "model": {"architecture": "crnn"},
                "evaluation": {"part": "validation"},
                "hub": hub,
            }
        )
