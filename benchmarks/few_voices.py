"""Compare ways to select the weights of a training with one validation speaker, on proxies.

    OMP_NUM_THREADS=1 python benchmarks/few_voices.py --corpora data --runs runs/few_voices
    [--variants selected last_refit ...] [--seeds 1 2] [--minutes 40] [--readme]

- `emodb`: four speakers of EMO-DB, two groups without a common speaker, with the recipe
  `savee_crnn`. Each speaker is tested once; one of the other three is for validation.
- `ravdess`: two actresses of RAVDESS, two pairs, with the recipe `tess_crnn` and 20 times its
  epochs (as in proxies.py). Validation has other sentences of the training speaker.

Variants:

- `selected`: the epoch with the best mean UAR of three evaluations, as most trainings select it;
- `selected_refit`: the same, then a training on train and validation for as many steps;
- `last`: the last epoch, with an exponential moving average of the weights;
- `last_refit`: the same, then the same training on train and validation.

The clips are development data here: test speakers may be scored as often as needed. Each cell
(proxy, group, variant, seed) is a run over all folds. The same command resumes, and skips the cells
that benchmarks/results/few_voices.json has; `--minutes` starts no further cell after that time.
`--readme` prints the tables without running anything.
"""

import argparse
import dataclasses
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fixed_split import read, write

import ser_hf

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "few_voices.json"
BASELINE = "selected"
_AVERAGE = "training.average={kind: ema, decay: 0.99}"
VARIANTS = {
    "selected": [
        "training.early_stopping.select=best",
        "training.refit=false",
        "training.average={}",
    ],
    "last_refit": ["training.early_stopping.select=last", "training.refit=true", _AVERAGE],
    "last": ["training.early_stopping.select=last", "training.refit=false", _AVERAGE],
    "selected_refit": [
        "training.early_stopping.select=best",
        "training.refit=true",
        "training.average={}",
    ],
}


@dataclasses.dataclass(frozen=True)
class Proxy:
    """A recipe for few speakers, and the groups of speakers of another corpus that it is run on."""

    recipe: str
    corpus: str
    folder: str
    groups: tuple[tuple[str, ...], ...]
    overrides: tuple[str, ...] = ()


PROXIES = {
    "emodb": Proxy(
        recipe="savee_crnn",
        corpus="emodb",
        folder="EMO-DB",
        groups=(("11", "14", "15", "16"), ("03", "08", "09", "10")),
    ),
    "ravdess": Proxy(
        recipe="tess_crnn",
        corpus="ravdess",
        folder="RAVDESS",
        groups=(("02", "04"), ("06", "08")),
        overrides=("training.num_train_epochs=200",),
    ),
}


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run: a variant on one group of speakers of a proxy, with one seed."""

    proxy: str
    group: int
    variant: str
    seed: int

    @property
    def key(self) -> str:
        return f"{self.proxy}/{self.group}/{self.variant}/{self.seed}"


def main() -> None:
    options = read_options()
    began = time.monotonic()
    if not options.readme:
        for cell in cells(options):
            minutes = (time.monotonic() - began) / 60
            if minutes >= options.minutes:
                print(f"{minutes:.0f} minutes are over; the same command continues", flush=True)
                break
            if cell.key not in read(options.results):
                measure(cell, options)
    print(tables(read(options.results)))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpora", type=Path, default=Path("data"))
    parser.add_argument("--proxies", nargs="+", default=list(PROXIES), choices=PROXIES)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--epochs", type=float, help="epochs in place of those of the recipe")
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--runs", type=Path, default=Path("runs/few_voices"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--readme", action="store_true")
    return parser.parse_args()


def cells(options: argparse.Namespace) -> Iterator[Cell]:
    """All cells; the two variants that matter most come first, for every group."""
    for seed in options.seeds:
        for variant in VARIANTS:
            for proxy in PROXIES:
                if variant not in options.variants or proxy not in options.proxies:
                    continue
                for group in range(len(PROXIES[proxy].groups)):
                    yield Cell(proxy, group, variant, seed)


def measure(cell: Cell, options: argparse.Namespace) -> None:
    """Run one cell, and save its row."""
    proxy = PROXIES[cell.proxy]
    folder = options.runs / cell.key
    with tempfile.TemporaryDirectory() as corpus:
        link_speakers(proxy, proxy.groups[cell.group], options.corpora, Path(corpus))
        overrides = [
            f"corpus={{name: {proxy.corpus}, root: '{corpus}'}}",
            f"output_dir={folder}",
            f"audio.cache_dir={corpus}/cache",
            f"training.seeds=[{cell.seed}]",
            "evaluation={bootstrap: 100, map: null}",
            *proxy.overrides,
            *VARIANTS[cell.variant],
        ]
        if options.epochs:
            overrides.append(f"training.num_train_epochs={options.epochs}")
        report = ser_hf.run_recipe(
            ROOT / "recipes" / f"{proxy.recipe}.yaml", overrides, overwrite=True
        )
    shutil.rmtree(folder)
    folds = {fold.tested: fold.metrics["uar"] for fold in report.protocol.folds.values()}
    row: dict[str, Any] = {
        "uar": report.metrics["uar"],
        "folds": folds,
        "seconds": report.seconds.training,
        "warnings": report.warnings,
        "git_revision": report.environment.git_revision,
    }
    write(options.results, read(options.results) | {cell.key: row})
    print(f"{cell.key}: UAR {row['uar']:.3f} in {row['seconds']:.0f} s", flush=True)


def link_speakers(proxy: Proxy, speakers: tuple[str, ...], corpora: Path, folder: Path) -> None:
    """Link the clips of these speakers below `folder`, as the loader of the corpus finds them."""
    root = corpora / proxy.folder
    if proxy.corpus == "ravdess":
        for speaker in speakers:
            actor = next(root.rglob(f"Actor_{speaker}"))
            (folder / actor.name).symlink_to(actor.resolve())
        return
    for path in sorted(root.rglob("*")):
        if path.suffix in (".wav", ".flac") and path.name[:2] in speakers:
            (folder / path.name).symlink_to(path.resolve())


def tables(rows: dict[str, dict[str, Any]]) -> str:
    """A Markdown table: the mean UAR of all folds and seeds, and the difference from the baseline.

    The difference has the standard error over test speakers; the seeds of a speaker are averaged.
    """
    lines = [
        "| proxy | variant | runs | UAR | lowest speaker | minus `selected` | training, s a run |",
        "|---|---|---|---|---|---|---|",
    ]
    for proxy in PROXIES:
        baseline = speaker_scores(rows, proxy, BASELINE)
        for variant in VARIANTS:
            scores = speaker_scores(rows, proxy, variant)
            if not scores:
                continue
            means = {speaker: statistics.mean(values) for speaker, values in scores.items()}
            selected = runs_of(rows, proxy, variant)
            seconds = statistics.mean(row["seconds"] for row in selected)
            lines.append(
                f"| {proxy} | `{variant}` | {len(selected)} | {statistics.mean(means.values()):.3f}"
                f" | {min(means.values()):.3f} | {difference(scores, baseline)} | {seconds:.0f} |"
            )
    return "\n".join(lines)


def runs_of(rows: dict[str, dict[str, Any]], proxy: str, variant: str) -> list[dict[str, Any]]:
    """The rows of all groups and seeds of a variant."""
    selected = []
    for key, row in rows.items():
        row_proxy, _, row_variant, _ = key.split("/")
        if (row_proxy, row_variant) == (proxy, variant):
            selected.append(row)
    return selected


def speaker_scores(
    rows: dict[str, dict[str, Any]], proxy: str, variant: str
) -> dict[str, list[float]]:
    """The UAR of each test speaker, one for each seed."""
    scores: dict[str, list[float]] = {}
    for row in runs_of(rows, proxy, variant):
        for speaker, uar in row["folds"].items():
            scores.setdefault(speaker, []).append(uar)
    return scores


def difference(scores: dict[str, list[float]], baseline: dict[str, list[float]]) -> str:
    """The mean paired difference over test speakers, with its standard error."""
    paired = [
        statistics.mean(scores[speaker]) - statistics.mean(baseline[speaker])
        for speaker in scores
        if speaker in baseline
    ]
    if len(paired) < 2 or scores == baseline:
        return ""
    error = statistics.stdev(paired) / len(paired) ** 0.5
    better = sum(value > 0 for value in paired)
    return f"{statistics.mean(paired):+.3f} ± {error:.3f}, better for {better} of {len(paired)}"


if __name__ == "__main__":
    main()
