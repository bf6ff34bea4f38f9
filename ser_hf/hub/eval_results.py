"""A result for the leaderboard of a benchmark on the Hub: files of `.eval_results/`, beside a model's weights.

Beta on the Hub, which takes results of data sets that it knows as benchmarks: https://huggingface.co/docs/hub/eval-results.
"""

import datetime
import re
from collections.abc import Mapping
from typing import Any

from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id, yaml_dump

from ..errors import UserError
from ..evaluation.metrics import NAMES


def eval_result_files(
    report: Mapping[str, Any],
    dataset_id: str,
    task_id: str = "default",
    *,
    metric: str = "uar",
    dataset_revision: str | None = None,
    source_url: str | None = None,
    date: datetime.date | None = None,
) -> dict[str, str]:
    """{name of the file: its YAML} of one figure.

    Args:
        report: of the weights that are published (`ser_hf.hub.run_card.run_report`).
        dataset_id: the benchmark's id on the Hub.
        task_id: of the task, as its eval.yaml has it.
        metric: which figure the benchmark compares.
        source_url: where the figure can be looked up, such as the report's repository.
        date: when it was measured; by default the day of the commit.

    Raises:
        UserError: for what is no id, a metric that was not measured, figures of a leaky protocol, and figures of the
            validation part, which would stand on a leaderboard beside honest ones.
    """
    try:
        validate_repo_id(dataset_id)
    except HFValidationError:
        raise UserError(f"{dataset_id}: no id of a data set on the Hub, which reads USER/NAME") from None
    value = report["metrics"].get(metric)
    if value is None:
        raise UserError(f"{metric}: not measured; the report has {', '.join(report['metrics'])}")
    protocol, judged_on = report["protocol"], report["judged_on"]
    if protocol["leak"] or judged_on != "test":
        why = f"the protocol {protocol['name']} is leaky" if protocol["leak"] else f"the {judged_on} part judged"
        raise UserError(f"{dataset_id}: {report['name']} has no figure for a leaderboard, as {why}")
    where = f"{protocol['name']}" + (f", fold {protocol['fold']}" if protocol.get("fold") else "")
    entry = EvalResultEntry(
        dataset_id=dataset_id,
        task_id=task_id,
        value=round(value, 4),
        dataset_revision=dataset_revision,
        date=date and date.isoformat(),
        source_url=source_url,
        source_name=source_url and "Evaluation report",
        notes=f"{NAMES[metric]} on unheard speakers, protocol {where}, split {protocol['sha256'][:16]}",
    )
    name = re.sub(r"[^a-z0-9]+", "-", dataset_id.rpartition("/")[2].lower()).strip("-")
    return {f".eval_results/{name}.yaml": yaml_dump(eval_result_entries_to_yaml([entry]), sort_keys=False)}
