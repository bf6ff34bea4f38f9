"""Compare rules that decide whether every clip gets one loudness (`audio.level: auto`).

    OMP_NUM_THREADS=1 python benchmarks/level_rules.py --corpora data [--draws 5] [--readme]

The proxies are made from RAVDESS and EMO-DB. `few` keeps one, two or three emotions of each
speaker; `gains` is by speaker (a constant of -30 to 0 dB, or of -12 to 0 dB), by emotion (the
same ranges) or none. Each proxy is drawn several times. A classifier (logistic regression on the
means and deviations of 40 mel bands in dB, the input of the networks from scratch) is tested on
speakers that it was not trained on, with clips as recorded and with clips of one loudness; a gain
shifts the means only, so that no clip is processed twice. In each fold, each rule decides from the
training speakers.

Rules (`speaker`, `centered`, `partial` and `gap` choose one loudness above a threshold):

- `never`, `always`: no decision.
- `speaker`: the share of the variance of loudness that the speaker explains (epsilon squared).
- `centered`: the same, after the mean of each emotion is subtracted.
- `partial`: the share of the variance that emotions leave and speakers then explain, from the two
  least squares fits, with their degrees of freedom.
- `gap`: `partial` minus the share that emotions explain beyond speakers.
- `components`: the variance of speakers within emotions, over that and the variance of emotions, by
  the method of moments for nested groups (speakers within emotions).
- `cv`: the better of the two in cross-validation over the training speakers; `cv+1` changes the
  level only if the mean gain over speakers is more than one standard error.
- `partial+cv`: one loudness if `partial` and `cv` agree.

The figure of a rule is its pooled UAR over all folds, and the loss is what it misses to the better
of `never` and `always` on the same draw. The corpora are development data here.
"""

import argparse
import dataclasses
import json
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
from fixed_split import read, write
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import ser_hf
from ser_hf.evaluation.slices import explained_variance
from ser_hf.models.preparation import gated_loudness

RESULTS = Path(__file__).parent / "results" / "level_rules.json"
CORPORA = {"ravdess": "RAVDESS", "emodb": "EMO-DB"}
RATE = 16000
MELS = 40
OUTER_FOLDS = 6
INNER_FOLDS = 5
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
STRENGTH = 0.01  # C of the logistic regression


@dataclasses.dataclass(frozen=True)
class Clips:
    """The clips of a proxy: features as recorded (clips, size), loudness in LUFS, and groups."""

    features: np.ndarray
    loudness: np.ndarray
    labels: np.ndarray
    speakers: np.ndarray

    def take(self, rows: np.ndarray) -> "Clips":
        return Clips(
            self.features[rows], self.loudness[rows], self.labels[rows], self.speakers[rows]
        )

    def gained(self, decibels: np.ndarray) -> "Clips":
        """The clips with a gain for each."""
        features = self.features.copy()
        features[:, :MELS] += decibels[:, None]
        return dataclasses.replace(self, features=features, loudness=self.loudness + decibels)

    def leveled(self) -> "Clips":
        """The clips at one loudness."""
        return self.gained(-23.0 - self.loudness)

    @property
    def table(self) -> pd.DataFrame:
        return pd.DataFrame(
            {"loudness": self.loudness, "speaker": self.speakers, "label": self.labels}
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpora", type=Path, default=Path("data"))
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--cache", type=Path, default=Path("runs/level_rules"))
    parser.add_argument("--readme", action="store_true")
    options = parser.parse_args()
    if not options.readme:
        for corpus in CORPORA:
            measure(corpus, options)
    print(tables(read(options.results)))


def measure(corpus: str, options: argparse.Namespace) -> None:
    """Run every proxy of a corpus that the results lack."""
    clips = None
    for draw in range(options.draws):
        for few in (None, 1, 2, 3):
            if few == 1 and corpus == "emodb":
                continue  # ten speakers are too few for seven emotions
            for gains in GAINS:
                key = f"{corpus}/{few or 'all'}/{gains}/{draw}"
                if key in read(options.results) or (draw and few is None and gains == "none"):
                    continue
                if clips is None:
                    clips = measured_clips(corpus, options.corpora / CORPORA[corpus], options.cache)
                row = compare(proxy(clips, few, gains, draw), draw)
                write(options.results, read(options.results) | {key: row})
                print(key, json.dumps(row["uar"]), flush=True)


def measured_clips(corpus: str, root: Path, cache: Path) -> Clips:
    """The features and loudness of every clip of a corpus, computed once."""
    file = cache / f"{corpus}.npz"
    if not file.is_file():
        dataset = ser_hf.load_corpus(corpus, root)
        features = []
        loudness = []
        for audio in dataset["audio"][:]:
            samples, _ = librosa.load(audio["path"], sr=RATE, mono=True)
            power = librosa.feature.melspectrogram(y=samples, sr=RATE, n_fft=512, n_mels=MELS)
            bands = librosa.power_to_db(power, top_db=80)
            features.append(np.concatenate([bands.mean(axis=1), bands.std(axis=1)]))
            loudness.append(gated_loudness(samples, RATE))
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(
            file,
            features=np.asarray(features),
            loudness=np.asarray(loudness, dtype=float),
            labels=np.asarray(dataset["label"][:]),
            speakers=np.asarray(dataset["speaker"][:]),
        )
    with np.load(file) as saved:
        return Clips(**{field.name: saved[field.name] for field in dataclasses.fields(Clips)})


# {name: (the groups that get a gain, the lowest gain in dB)}
GAINS = {
    "none": (None, 0.0),
    "speaker 30": ("speakers", -30.0),
    "speaker 12": ("speakers", -12.0),
    "emotion 30": ("labels", -30.0),
    "emotion 12": ("labels", -12.0),
}


def proxy(clips: Clips, few: int | None, gains: str, draw: int) -> Clips:
    """Draw a proxy: the emotions of each speaker, then a gain for each speaker or emotion."""
    rng = np.random.default_rng([draw, few or 0])
    if few is not None:
        clips = clips.take(rows_with_few_emotions(clips, few, rng))
    column, lowest = GAINS[gains]
    if column is None:
        return clips
    groups = getattr(clips, column)
    gain_of_group = {group: rng.uniform(lowest, 0.0) for group in np.unique(groups)}
    return clips.gained(np.asarray([gain_of_group[group] for group in groups]))


def rows_with_few_emotions(clips: Clips, few: int, rng: np.random.Generator) -> np.ndarray:
    """Rows in which each speaker has `few` emotions; each emotion has about equally many speakers.

    Emotions are dealt to the speakers like cards, so that no emotion has a single speaker if there
    are twice as many speakers as emotions.
    """
    labels = np.unique(clips.labels)
    speakers = rng.permutation(np.unique(clips.speakers))
    kept = np.zeros(len(clips.labels), dtype=bool)
    cards: list[int] = []
    for speaker in speakers:
        emotions: set[int] = set()
        while len(emotions) < few:
            if not cards:
                cards = list(rng.permutation(labels))
            emotions.add(int(cards.pop()))
        kept |= (clips.speakers == speaker) & np.isin(clips.labels, sorted(emotions))
    return np.flatnonzero(kept)


def compare(clips: Clips, seed: int) -> dict:
    """The pooled UAR of each rule, and how often it chose one loudness."""
    leveled = clips.leveled()
    predicted = {"null": np.zeros_like(clips.labels), "loudness": np.zeros_like(clips.labels)}
    choices: dict[str, list[bool]] = {}
    fold_of_row = np.zeros(len(clips.labels), dtype=int)
    shares: dict[str, list[float]] = {}
    for number, (trained, tested) in enumerate(folds(clips, OUTER_FOLDS, seed)):
        fold_of_row[tested] = number
        predicted["null"][tested] = predict(clips, trained, tested)
        predicted["loudness"][tested] = predict(leveled, trained, tested)
        known = clips.take(trained)
        for name, value in rules(known, seed).items():
            shares.setdefault(name, []).append(value)
        for name, choice in decisions(known, seed).items():
            choices.setdefault(name, []).append(choice)
    uar = {}
    for name, chosen in choices.items():
        by_fold = np.asarray(chosen)[fold_of_row]
        final = np.where(by_fold, predicted["loudness"], predicted["null"])
        uar[name] = float(recall_score(clips.labels, final, average="macro"))
    return {
        "uar": uar,
        "chosen": {name: float(np.mean(chosen)) for name, chosen in choices.items()},
        "shares": {name: float(np.mean(values)) for name, values in shares.items()},
        "clips": len(clips.labels),
    }


def folds(clips: Clips, count: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Folds of speakers; each speaker is tested once."""
    count = min(count, len(np.unique(clips.speakers)))
    splitter = GroupKFold(count, shuffle=True, random_state=seed)
    return splitter.split(clips.features, clips.labels, clips.speakers)


def predict(clips: Clips, trained: np.ndarray, tested: np.ndarray) -> np.ndarray:
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=300)
    )
    model.fit(clips.features[trained], clips.labels[trained])
    return model.predict(clips.features[tested])


def rules(clips: Clips, seed: int) -> dict[str, float]:
    """The figure of each rule that has a threshold."""
    table = clips.table
    centered = table["loudness"] - table.groupby("label")["loudness"].transform("mean")
    return {
        "speaker": explained_variance(table, "loudness", "speaker") or 0.0,
        "centered": explained_variance(table.assign(loudness=centered), "loudness", "speaker")
        or 0.0,
        "partial": partial_share(table, "speaker", "label"),
        "gap": partial_share(table, "speaker", "label") - partial_share(table, "label", "speaker"),
        "components": component_share(table),
    }


def decisions(clips: Clips, seed: int) -> dict[str, bool]:
    """Whether each rule gives every clip one loudness."""
    values = rules(clips, seed)
    chosen = {"never": False, "always": True}
    for name in ("speaker", "centered", "partial"):
        for threshold in THRESHOLDS:
            chosen[f"{name} {threshold}"] = values[name] > threshold
    chosen["gap 0.0"] = values["gap"] > 0
    chosen["components 0.5"] = values["components"] > 0.5
    gains = cross_validated_gains(clips, seed)
    error = statistics.stdev(gains) / len(gains) ** 0.5
    chosen["cv"] = statistics.mean(gains) > 0
    chosen["cv+1"] = statistics.mean(gains) > error
    chosen["partial+cv"] = chosen["partial 0.5"] and chosen["cv"]
    chosen["partial 0.3+cv"] = chosen["partial 0.3"] and chosen["cv"]
    return chosen


def partial_share(table: pd.DataFrame, column: str, other: str) -> float:
    """The share of the variance left by `other` that the groups of `column` explain."""
    only = residual_variance(table, [other])
    both = residual_variance(table, [other, column])
    return 0.0 if only is None or both is None else max(0.0, 1 - both / only)


def residual_variance(table: pd.DataFrame, columns: list[str]) -> float | None:
    """The residual variance of a least squares fit on the groups of these columns."""
    design = pd.get_dummies(table[columns].astype(str)).to_numpy(float)
    solution, _, rank, _ = np.linalg.lstsq(design, table["loudness"].to_numpy(), rcond=None)
    degrees = len(table) - rank
    if degrees < 1:
        return None
    residuals = table["loudness"].to_numpy() - design @ solution
    return float(residuals @ residuals / degrees)


def component_share(table: pd.DataFrame) -> float:
    """The variance of speakers within emotions, over that and the variance of emotions."""
    cells = table.groupby(["label", "speaker"])["loudness"].agg(["mean", "var", "count"])
    noise = cells["var"].fillna(0.0).mean() / cells["count"].mean()
    by_label = cells["mean"].groupby("label")
    within = max(0.0, by_label.var().fillna(0.0).mean() - noise)
    between = max(0.0, by_label.mean().var() - within / by_label.size().mean())
    return within / (within + between) if within + between else 0.0


def cross_validated_gains(clips: Clips, seed: int) -> list[float]:
    """The gain in accuracy of each training speaker by one loudness, from held-out speakers."""
    leveled = clips.leveled()
    gains = []
    for trained, tested in folds(clips, INNER_FOLDS, seed):
        right = predict(leveled, trained, tested) == clips.labels[tested]
        right_before = predict(clips, trained, tested) == clips.labels[tested]
        for speaker in np.unique(clips.speakers[tested]):
            rows = clips.speakers[tested] == speaker
            gains.append(float(right[rows].mean() - right_before[rows].mean()))
    return gains


def tables(results: dict) -> str:
    """A Markdown table: the loss of each rule by kind of proxy."""
    kinds = {
        "as recorded": lambda few, gains: few == "all" and gains == "none",
        "few emotions a speaker": lambda few, gains: few != "all" and gains == "none",
        "gains by speaker": lambda few, gains: few == "all" and gains.startswith("speaker"),
        "both": lambda few, gains: few != "all" and gains.startswith("speaker"),
        "gains by emotion": lambda few, gains: gains.startswith("emotion"),
    }
    lines = [f"| rule | {' | '.join(kinds)} | all, mean loss | largest loss |"]
    lines.append("|" + "---|" * (len(kinds) + 3))
    names = list(next(iter(results.values()))["uar"]) if results else []
    lines += [_rule_line(name, kinds, results) for name in names]
    return "\n".join(lines)


def _rule_line(name: str, kinds: dict[str, Callable[[str, str], bool]], results: dict) -> str:
    losses: dict[str, list[float]] = {kind: [] for kind in kinds}
    for key, row in results.items():
        _, few, gains, _ = key.split("/")
        loss = max(row["uar"]["never"], row["uar"]["always"]) - row["uar"][name]
        for kind, holds in kinds.items():
            if holds(few, gains):
                losses[kind].append(loss)
    everything = [loss for values in losses.values() for loss in values]
    cells = [f"{statistics.mean(values):.3f}" for values in losses.values()]
    mean = statistics.mean(statistics.mean(values) for values in losses.values())
    return f"| `{name}` | {' | '.join(cells)} | {mean:.3f} | {max(everything):.3f} |"


if __name__ == "__main__":
    main()
