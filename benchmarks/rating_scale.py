"""Predicted ratings outside of their scale: a bounded head compared with a linear calibration.

    OMP_NUM_THREADS=1 python benchmarks/rating_scale.py --corpus-root data/RAVDESS

The targets are those of benchmarks/dimensions.py. For each loss, one network is trained with a
linear head and one with a sigmoid after it. The predictions of the validation speakers are scored
as they are, after a clamp, after a linear calibration (`ser_hf.evaluation.rating_scale`), and after
the calibration of the dimensions that it does not harm, which training stores. The calibration of a
half of the validation speakers is fitted and selected on the other half, so that it is never scored
on the speakers that it was fitted on. Test speakers are not used.

Runs are in --runs and are resumed; the rows replace those of the same networks in
benchmarks/results/rating_scale.json.
"""

import argparse
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow.parquet as pq
import torch
from dimensions import TARGETS, write_table
from fixed_split import write

from ser_hf import run_recipe
from ser_hf.evaluation.predictions import Predictions, from_table
from ser_hf.evaluation.rating_scale import (
    RatingScale,
    fit_rating_scale,
    outside_scale,
    select_rating_scale,
)
from ser_hf.evaluation.ratings import Ratings
from ser_hf.models.modeling_base import AcousticClassifier

LOSSES = ("ccc", "ccc_mse", "mse")
EPOCHS = (4, 12)
RESULTS = Path(__file__).parent / "results" / "rating_scale.json"


def recipe(table: Path, root: str, loss: str, epochs: int, output: Path) -> dict[str, Any]:
    """The recipe of one network."""
    return {
        "name": output.name,
        "output_dir": str(output),
        "task": "dimensions",
        "corpus": {
            "name": "csv",
            "root": str(table),
            "audio_root": root,
            "corpus_name": "ravdess",
            "targets": list(TARGETS),
            "ranges": {"arousal": [-1, 1], "valence": [-1, 1]},
            "acted": True,
        },
        "protocol": {
            "name": "speaker_independent",
            "validation": 0.3,
            "test": 0.2,
            "near_duplicates": "skip",
        },
        "audio": {"max_duration": 2.0},
        "model": {
            "architecture": "crnn",
            "channels": [16, 32, 64, 64],
            "pooling": "attentive_stats",
        },
        "training": {
            "learning_rate": 2.0e-3,
            "num_train_epochs": epochs,
            "per_device_train_batch_size": 32,
            "loss": {"dimensions": loss},
            "seeds": [1],
        },
        "evaluation": {
            "part": "validation",
            "rating_scale": "none",
            "hardest_clips": 0,
            "map": None,
        },
    }


def bounded_forward(self: AcousticClassifier, *inputs: Any, **named: Any) -> Any:
    """The forward pass of a network with a sigmoid after its head."""
    labels = named.pop("labels", None)
    outputs = linear_forward(self, *inputs, **named)
    outputs.logits = torch.sigmoid(outputs.logits)
    if labels is not None:
        outputs.loss = torch.nn.functional.mse_loss(outputs.logits, labels.float())
    return outputs


linear_forward = AcousticClassifier.forward


def set_bounded_bias(model: torch.nn.Module, means: Any) -> None:
    """Start the sigmoid at the means of the training targets."""
    with torch.no_grad():
        model.classifier.bias.copy_(torch.logit(torch.tensor(means)))


def unclamped(outputs: np.ndarray, problem_type: str, bounded: bool = False) -> np.ndarray:
    """Values of dimensions as the network computes them."""
    return outputs


def validation_predictions(values: dict[str, Any], bounded: bool) -> Predictions:
    """Train the network of a recipe, and return its predictions of the validation speakers."""
    output = Path(values["output_dir"])
    table = output / "report" / "predictions.parquet"
    if not table.is_file():
        with contextlib.ExitStack() as patches:
            patches.enter_context(mock.patch("ser_hf.experiment.measuring.activated", unclamped))
            if bounded:
                patches.enter_context(
                    mock.patch.object(AcousticClassifier, "forward", bounded_forward)
                )
                patches.enter_context(
                    mock.patch("ser_hf.experiment.fitting.set_initial_bias", set_bounded_bias)
                )
            run_recipe(values, resume=output.exists())
    return from_table(pq.read_table(table), "validation", TARGETS)


def scores(labels: np.ndarray, values: np.ndarray) -> dict[str, Any]:
    """Mean CCC, MAE and RMSE, and the share of the clips with a value outside of the scale."""
    moments = Ratings(labels, values).unweighted
    return {
        "ccc": float(moments.ccc().mean()),
        "mae": float(moments.mae().mean()),
        "rmse": float(moments.rmse().mean()),
        "outside": float(outside_scale(values).any(axis=1).mean()),
    }


def fit_always(labels: np.ndarray, values: np.ndarray, speakers: np.ndarray) -> RatingScale:
    """The calibration of all dimensions."""
    return fit_rating_scale(labels, values)


def calibrated(predictions: Predictions, fit: Callable[..., RatingScale]) -> np.ndarray:
    """Values (clips, dimensions) of each half of the speakers, calibrated on the other half."""
    (values,) = predictions.probabilities
    result = np.empty_like(values)
    speakers = np.asarray(predictions.speakers)
    first_half = np.isin(speakers, np.unique(speakers)[::2])
    for fitted in (first_half, ~first_half):
        scale = fit(predictions.labels[fitted], values[fitted], speakers[fitted])
        result[~fitted] = scale.apply(values[~fitted])
    return result


def rows_of(predictions: Predictions, loss: str, epochs: int, bounded: bool) -> list[dict]:
    """The rows of one network."""
    (values,) = predictions.probabilities
    variants = {"sigmoid": values}
    if not bounded:
        on_scale = calibrated(predictions, fit_always)
        selected = calibrated(predictions, select_rating_scale)
        variants = {
            "linear": values,
            "linear, clamped": np.clip(values, 0, 1),
            "calibrated": on_scale,
            "calibrated, clamped": np.clip(on_scale, 0, 1),
            "selected": selected,
            "selected, clamped": np.clip(selected, 0, 1),
        }
    rows = []
    for head, variant in variants.items():
        row = {"loss": loss, "epochs": epochs, "head": head}
        rows.append(row | scores(predictions.labels, variant))
    return rows


def merged_rows(earlier: list[dict], rows: list[dict]) -> list[dict]:
    """The earlier rows of other networks, and the rows."""
    networks = {(row["loss"], row["epochs"]) for row in rows}
    kept = [row for row in earlier if (row["loss"], row["epochs"]) not in networks]
    return [*kept, *rows]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus-root", required=True, metavar="DIR", help="RAVDESS.")
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FILE")
    parser.add_argument("--epochs", type=int, nargs="+", default=EPOCHS)
    parser.add_argument("--losses", nargs="+", default=LOSSES, choices=LOSSES)
    options = parser.parse_args()

    table = options.runs / "ravdess.csv"
    write_table("ravdess", options.corpus_root, table)
    earlier: list[dict] = []
    if options.results.is_file():
        earlier = json.loads(options.results.read_text(encoding="utf-8"))["rows"]
    measured: list[dict] = []
    print("loss     epochs  head                 CCC    MAE    RMSE   outside")
    for epochs in options.epochs:
        for loss in options.losses:
            for bounded in (False, True):
                output = options.runs / f"{loss}_{epochs}_{'sigmoid' if bounded else 'linear'}"
                values = recipe(table, options.corpus_root, loss, epochs, output)
                rows = rows_of(validation_predictions(values, bounded), loss, epochs, bounded)
                measured += rows
                write(options.results, {"rows": merged_rows(earlier, measured)})
                for row in rows:
                    print(
                        f"{loss:8} {epochs:6}  {row['head']:20} {row['ccc']:.3f}  "
                        f"{row['mae']:.3f}  {row['rmse']:.3f}  {row['outside']:.1%}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
