"""Files for the leaderboards of benchmarks, read back by the Hub's own client."""

import datetime

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries

from ser_hf.hub.publish import eval_result_files
from ser_hf.utils.errors import UserError

REPORT = {
    "name": "toy",
    "judged_on": "test",
    "metrics": {"uar": 0.51236, "wa": 0.6, "auroc": None},
    "protocol": {"name": "kfold", "fold": "s1", "sha256": "0123456789abcdef" * 4, "leak": None},
}


def test_the_hub_s_client_reads_one_figure():
    source = "https://huggingface.co/datasets/someone/report"
    day = datetime.date(2026, 11, 22)
    files = eval_result_files(
        REPORT, "someone/SER_bench", "ravdess", dataset_revision="abc", source_url=source, date=day
    )
    ((name, text),) = files.items()
    assert name == ".eval_results/ser-bench.yaml"
    (entry,) = parse_eval_result_entries(yaml.safe_load(text))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("someone/SER_bench", "ravdess", 0.5124)
    assert (entry.dataset_revision, entry.date, entry.source_url) == ("abc", "2026-11-22", source)
    assert entry.notes == "UAR on unheard speakers, protocol kfold, fold s1, split 0123456789abcdef"


def test_what_is_not_known_is_left_out():
    (text,) = eval_result_files(REPORT, "someone/bench", metric="wa").values()
    (entry,) = yaml.safe_load(text)
    assert entry.keys() == {"dataset", "value", "notes"}
    assert entry["dataset"] == {"id": "someone/bench", "task_id": "default"}
    assert entry["value"] == 0.6


@pytest.mark.parametrize(
    ("changes", "settings", "told"),
    [
        ({}, {"dataset_id": "some one/bench"}, "some one/bench: no id of a data set on the Hub"),
        ({}, {"metric": "auroc"}, "auroc: not measured; the report has uar, wa"),
        (
            {"judged_on": "validation"},
            {},
            "someone/bench: toy has no figure for a leaderboard, as the validation part",
        ),
        (
            {"protocol": REPORT["protocol"] | {"name": "random", "leak": "Leaky."}},
            {},
            "someone/bench: toy has no figure for a leaderboard, as the protocol random is leaky",
        ),
    ],
)
def test_no_figure_stands_beside_honest_ones_that_is_not(changes, settings, told):
    with pytest.raises(UserError, match=told):
        eval_result_files(REPORT | changes, **{"dataset_id": "someone/bench"} | settings)
