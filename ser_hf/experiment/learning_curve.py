"""The learning curve of a run: its score with fewer training speakers, and with fewer clips.

The same network is trained on a quarter, a half and all of the training speakers, and on the same
shares of the clips of every speaker. Draws are nested: the speakers of a smaller share are among
those of a larger one. The validation speakers of the fold evaluate these trainings; the test
speakers are not used. Each training is a run in its folder, so that an interrupted curve continues.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ..evaluation.bootstrap import is_unknown
from ..evaluation.sections import CurvePoint, LearningCurve
from ..protocols import Split
from ..report.report import Report
from ..utils.errors import UserError
from .context import RunContext
from .data import Fold, digest_of_clips

logger = logging.getLogger(__name__)

SHARES = (0.25, 0.5, 1.0)
_MOST_FOLDS = 3
_DRAWS_OF_ONE_FOLD = 2
_FEWEST_SPEAKERS = 2


@dataclasses.dataclass(frozen=True)
class _Training:
    """One training of the curve: what is reduced, to which share, and the reduced fold."""

    reduced: str
    share: float
    draw: int
    fold: Fold

    @property
    def folder(self) -> str:
        """Name of its folder below the run's folder."""
        if self.share == 1:
            return f"curve-all-fold-{self.fold.number}"
        percent = round(100 * self.share)
        return f"curve-{self.reduced}-{percent}-fold-{self.fold.number}-draw-{self.draw}"


def learning_curve(run: RunContext, run_child: Callable[[RunContext], Report]) -> LearningCurve:
    """Train on fewer speakers and on fewer clips, and collect the scores.

    Args:
        run_child: runs a training in its folder, unless it is complete already.

    Raises:
        UserError: if a fold has fewer than four known training speakers.
    """
    scores: dict[tuple[str, float], list[float]] = {}
    sizes: dict[tuple[str, float], Fold] = {}
    for training in _trainings(run):
        logger.info("learning curve: %s", training.folder)
        report = run_child(_child(run, training))
        score = report.metrics[report.main]
        reduced = ("speakers", "clips") if training.share == 1 else (training.reduced,)
        for kind in reduced:
            scores.setdefault((kind, training.share), []).append(score)
            sizes.setdefault((kind, training.share), training.fold)

    points = {}
    for kind in ("speakers", "clips"):
        points[kind] = [
            _point(sizes[kind, share], scores[kind, share])
            for share in SHARES
            if (kind, share) in scores
        ]
    return LearningCurve(
        metric=run.task.main,
        speakers=points["speakers"],
        clips=points["clips"],
        verdict=verdict(points["speakers"], points["clips"]),
    )


def curve_runs(run: RunContext) -> list[RunContext]:
    """The runs of all trainings of the curve."""
    return [_child(run, training) for training in _trainings(run)]


def _point(fold: Fold, scores: Sequence[float]) -> CurvePoint:
    return CurvePoint(
        speakers=len(fold.split.speakers["train"]),
        clips=len(fold.split.rows["train"]),
        scores=list(scores),
        mean=float(np.mean(scores)),
    )


def _trainings(run: RunContext) -> Iterator[_Training]:
    """All trainings of the curve, the cheapest first within each fold."""
    folds = run.folds
    if len(folds) > _MOST_FOLDS:
        positions = np.linspace(0, len(folds) - 1, _MOST_FOLDS).round().astype(int)
        folds = [folds[position] for position in positions]
    draws = _DRAWS_OF_ONE_FOLD if len(folds) == 1 else 1
    labels = np.asarray(run.data.dataset["label"][:])
    speakers = run.data.dataset["speaker"][:]
    for fold in folds:
        names = fold.split.speakers["train"]
        if len(names) < 2 * _FEWEST_SPEAKERS or any(map(is_unknown, names)):
            raise UserError(
                "evaluation.learning_curve: needs four known training speakers or more, and fold "
                f"{fold.number} has {len(names)}; leave it out"
            )
        for share in SHARES[:-1]:
            for draw in range(draws):
                for reduced in ("speakers", "clips"):
                    rows = _reduced_rows(
                        fold.split.rows["train"],
                        reduced=reduced,
                        share=share,
                        speakers=speakers,
                        labels=labels,
                        seed=draw,
                    )
                    if set(labels[rows]) == set(labels[fold.split.rows["train"]]):
                        yield _Training(reduced, share, draw, _with_train(run, fold, rows))
        yield _Training("speakers", 1.0, 0, fold)


def _reduced_rows(
    rows: Sequence[int],
    *,
    reduced: str,
    share: float,
    speakers: Sequence[str],
    labels: np.ndarray,
    seed: int,
) -> list[int]:
    """The rows of a share of the speakers, or a share of the rows of each speaker and label.

    With the same seed, the rows of a smaller share are among those of a larger one.
    """
    rng = np.random.default_rng(seed)
    if reduced == "speakers":
        names = rng.permutation(sorted({speakers[row] for row in rows}))
        chosen = set(names[: max(_FEWEST_SPEAKERS, round(share * len(names)))])
        return [row for row in rows if speakers[row] in chosen]
    order = {row: position for position, row in enumerate(rng.permutation(sorted(rows)))}
    rows_of_cell: dict[tuple[str, int], list[int]] = {}
    for row in sorted(rows, key=order.__getitem__):
        rows_of_cell.setdefault((speakers[row], int(labels[row])), []).append(row)
    kept: list[int] = []
    for cell in rows_of_cell.values():
        kept += cell[: max(1, round(share * len(cell)))]
    return sorted(kept)


def _with_train(run: RunContext, fold: Fold, rows: list[int]) -> Fold:
    """The fold with other training clips."""
    split: Split = fold.split
    ids = run.data.dataset["id"][:]
    speakers = run.data.dataset["speaker"][:]
    changed = dataclasses.replace(
        split,
        rows={**split.rows, "train": rows},
        ids={**split.ids, "train": sorted(ids[row] for row in rows)},
        speakers={**split.speakers, "train": sorted({speakers[row] for row in rows})},
    )
    return dataclasses.replace(
        fold, split=changed, clips=digest_of_clips(run.data.dataset, changed)
    )


def _child(run: RunContext, training: _Training) -> RunContext:
    """The run of one training of the curve, evaluated on the validation split."""
    recipe = run.recipe
    evaluation = recipe.evaluation.replace(
        part="validation",
        learning_curve=False,
        robustness=False,
        noise_folder=None,
        impulse_folder=None,
        map=None,
    )
    recipe = recipe.replace(
        protocol=recipe.protocol.replace(foil=None, folds=[training.fold.number]),
        evaluation=evaluation,
    )
    return run.child(training.folder, recipe, [training.fold], watch=None)


def verdict(speakers: Sequence[CurvePoint], clips: Sequence[CurvePoint]) -> str:
    """A sentence on whether more speakers or more clips would help, by the last doubling."""
    if len(speakers) < 2 or len(clips) < 2:
        return "Too few speakers or clips of a class for a curve."
    of_speakers = speakers[-1].mean - speakers[-2].mean
    of_clips = clips[-1].mean - clips[-2].mean
    measured = (
        f"Twice the speakers gained {of_speakers:+.3f}, twice the clips of the same speakers "
        f"{of_clips:+.3f}"
    )
    noise = max(float(np.std(point.scores)) for point in (*speakers, *clips))
    if max(of_speakers, of_clips) <= noise / 2:
        return f"{measured}: neither is more than the noise of the draws, {noise:.3f}."
    if abs(of_speakers - of_clips) <= noise / 2:
        return f"{measured}: more speakers and more clips would help about equally."
    better = "speakers" if of_speakers > of_clips else "clips"
    return f"{measured}: more {better} would help more."
