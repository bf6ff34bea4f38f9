"""Compare methods that adapt a trained model to new speakers without labels.

    OMP_NUM_THREADS=1 python benchmarks/adaptation.py --corpora data
        --checkpoint weights/default512_BYOLAs64x96.pth [--networks byols egemaps crnn]
        [--part validation] [--epochs 25] [--readme]

Each network is trained on RAVDESS (actors 1 to 16) and on EMO-DB (six speakers), on the six
emotions of both; its other speakers and the whole other corpus are new to it. Some of the new
speakers are for validation, which compares the methods. The others are for the test, which is
scored once (`--part test`).

The model is trained by its recipe, and its embeddings are those of `ser-hf predict --embeddings`,
also of the new speakers under pink noise and over a telephone. They are saved below `--runs`: the
same command continues where it stopped. The methods:

- none;
- mean: the group's mean becomes the mean of the training speakers;
- mean and deviation, and `adapt`, the same with a prior, as ser_hf has it;
- coral: the covariance too (Sun et al. 2016, arXiv:1511.05547), shrunk by Ledoit and Wolf 2004;
- priors: probabilities for the group's shares of emotions, by EM (Saerens et al. 2002, Neural
  Computation 14), alone and after `adapt`;
- trained: a new last layer, trained on embeddings that are standardized per speaker;
- batch_norm: the statistics of all layers of batch normalization are those of the group (Li et al.
  2016, arXiv:1603.04779), for networks that have such layers.

Rows are merged into benchmarks/results/adaptation.json. `groups` repeats `adapt` with groups of
fewer clips, and with clips of few emotions.
"""

import argparse
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from datasets import Audio, Dataset
from fixed_split import read, write
from scipy.special import softmax
from sklearn.covariance import ledoit_wolf
from sklearn.linear_model import LogisticRegression
from torch import nn

import ser_hf
from ser_hf.audio.decode import decode
from ser_hf.evaluation.conditions import Condition
from ser_hf.inference import adaptation
from ser_hf.inference.load import load_classifier
from ser_hf.models.preparation import prepare_waveform

RESULTS = Path(__file__).parent / "results" / "adaptation.json"
LABELS = ["angry", "disgust", "fear", "happy", "neutral", "sad"]
CORPORA = {
    "ravdess": {"merge": {"calm": "neutral"}, "drop": ["surprise"]},
    "emodb": {"drop": ["boredom"]},
}
FOLDERS = {"ravdess": "RAVDESS", "emodb": "EMO-DB"}
SPLITS = {
    "ravdess": {"train": ["1-16"], "validation": ["17-20"], "test": ["21-24"]},
    "emodb": {
        "train": ["03", "08", "09", "10", "11", "12"],
        "validation": ["13", "14"],
        "test": ["15", "16"],
    },
}
# The speakers of a corpus that a model of the other corpus is validated on; the others are test.
VALIDATION = {
    "ravdess": [f"ravdess:{i:02d}" for i in range(1, 9)],
    "emodb": ["emodb:03", "emodb:08", "emodb:09", "emodb:10"],
}
CONDITIONS = {
    "clean": None,
    "pink noise, 10 dB": Condition("noise", 10.0),
    "telephone, 13 kbit/s": Condition("telephone", 13.0),
}
SIZES = (2, 3, 5, 8, 12, 20, 40)
DRAWS = 5
# The inverse strength of regularization of the last layer of `trained`.
STRENGTH = 0.03


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpora", type=Path, default=Path("data"))
    parser.add_argument("--checkpoint", default="weights/default512_BYOLAs64x96.pth")
    parser.add_argument("--networks", nargs="+", default=["byols", "egemaps", "crnn"])
    parser.add_argument("--directions", nargs="+", default=list(CORPORA))
    parser.add_argument("--conditions", nargs="+", default=list(CONDITIONS), choices=CONDITIONS)
    parser.add_argument("--part", default="validation", choices=["validation", "test"])
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--runs", type=Path, default=Path("runs/adaptation"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--readme", action="store_true")
    options = parser.parse_args()
    if options.readme:
        print(table(read(options.results)))
        return
    for network in options.networks:
        for corpus in options.directions:
            measure(network, corpus, options)
    print(table(read(options.results)))


def measure(network: str, corpus: str, options: argparse.Namespace) -> None:
    """Train a network on a corpus, and score all methods on new speakers of both corpora."""
    folder = train(network, corpus, options)
    known = embed(folder, corpus, "clean", options).of(training_speakers(corpus))
    for target in CORPORA:
        for condition in options.conditions:
            key = f"{network}, {corpus} to {target}, {condition}, {options.part}"
            row = read(options.results).get(key)
            speakers = new_speakers(corpus, target, options.part)
            clips = embed(folder, target, condition, options).of(speakers)
            if row is None:
                row = score(folder, known, clips)
                if condition == "clean":
                    row["groups"] = by_group_size(folder, known, clips)
                    row["few_emotions"] = with_few_emotions(folder, known, clips)
                save(key, row, options.results)
            # A method that validation did not choose is not scored on the test.
            has_norms = network != "egemaps" and options.part == "validation"
            if has_norms and "batch_norm" not in row["uar"]:
                logits = batch_norm_logits(folder, clips, target, condition, options)
                row["uar"]["batch_norm"] = uar(clips.labels, logits)
                save(key, row, options.results)


def save(key: str, row: dict[str, Any], results: Path) -> None:
    """Merge a row into the results, and print it."""
    write(results, read(results) | {key: row})
    print(key, {name: round(value, 3) for name, value in row["uar"].items()}, flush=True)


def train(network: str, corpus: str, options: argparse.Namespace) -> Path:
    """Train a network by its recipe, evaluated on validation speakers; returns its folder."""
    folder = options.runs / f"{network}_{corpus}"
    sections: dict[str, dict[str, Any]] = {
        "byols": {
            "model": {"architecture": "byols", "checkpoint": options.checkpoint},
            "freeze": {"encoder": True},
            "training": {"solver": "sklearn", "seeds": [1]},
        },
        "egemaps": {
            "model": {"architecture": "functionals_svm", "feature_set": "eGeMAPSv02"},
            "training": {"solver": "sklearn", "seeds": [1]},
        },
        "crnn": {
            "model": {
                "architecture": "crnn",
                "n_fft": 1024,
                "win_length": 800,
                "pooling": "attentive_stats",
                "normalization": "clip_bands",
            },
            "augment": {"speed": {"probability": 0.66, "factor": [0.9, 1.1]}},
            "training": {
                "learning_rate": 2e-3,
                "num_train_epochs": options.epochs,
                "per_device_train_batch_size": 16,
                "warmup_steps": 0.1,
                "loss": {"label_smoothing": 0.1},
                "average": {"kind": "ema", "decay": 0.99},
                "train_sampling_strategy": "group_by_length",
                "early_stopping": {"metric": "loss"},
                "seeds": [1],
            },
        },
    }
    audio = {"trim_silence": 40, "level": None, "cache_dir": str(options.runs / "cache")}
    if network == "crnn":
        audio["max_duration"] = 2.2
    recipe = {
        "name": folder.name,
        "output_dir": str(folder),
        "corpus": {
            "name": corpus,
            "root": str(options.corpora / FOLDERS[corpus]),
            "labels": LABELS,
            **CORPORA[corpus],
        },
        "protocol": {"name": "speaker_independent", **SPLITS[corpus]},
        "audio": audio,
        "evaluation": {"part": "validation", "map": None, "bootstrap": 200},
        **sections[network],
    }
    ser_hf.run_recipe(recipe, resume=True)
    return folder


def training_speakers(corpus: str) -> set[str]:
    """The training speakers of `train`."""
    if corpus == "ravdess":
        return {f"ravdess:{i:02d}" for i in range(1, 17)}
    return {f"emodb:{name}" for name in SPLITS["emodb"]["train"]}


def new_speakers(corpus: str, target: str, part: str) -> Callable[[str], bool]:
    """Return a function: whether a speaker of `target` is of `part` for a model of `corpus`."""
    if corpus != target:
        wanted = part == "validation"
        return lambda speaker: (speaker in VALIDATION[target]) == wanted
    if corpus == "emodb":
        names = {f"emodb:{name}" for name in SPLITS["emodb"][part]}
    else:
        first = 17 if part == "validation" else 21
        names = {f"ravdess:{i:02d}" for i in range(first, first + 4)}
    return names.__contains__


class Clips:
    """Embeddings (clips, size), logits, labels and speakers of clips."""

    def __init__(self, ids, vectors, logits, labels, speakers):
        self.ids = np.asarray(ids)
        self.vectors = vectors
        self.logits = logits
        self.labels = np.asarray(labels)
        self.speakers = np.asarray(speakers)

    def only(self, chosen: np.ndarray) -> "Clips":
        """Select clips by a mask or by positions."""
        return Clips(
            self.ids[chosen],
            self.vectors[chosen],
            self.logits[chosen],
            self.labels[chosen],
            self.speakers[chosen],
        )

    def of(self, speakers: set[str] | Callable[[str], bool]) -> "Clips":
        """The clips of some speakers."""
        chosen = speakers.__contains__ if isinstance(speakers, set) else speakers
        return self.only(np.array([chosen(str(speaker)) for speaker in self.speakers]))

    def groups(self) -> Iterator[np.ndarray]:
        """The positions of the clips of each speaker."""
        for speaker in np.unique(self.speakers):
            yield np.flatnonzero(self.speakers == speaker)


def corpus_clips(corpus: str, options: argparse.Namespace) -> Dataset:
    """The clips of a corpus with the six labels."""
    root = options.corpora / FOLDERS[corpus]
    return ser_hf.load_corpus(corpus, str(root), labels=LABELS, **CORPORA[corpus])


def embed(folder: Path, corpus: str, condition: str, options: argparse.Namespace) -> Clips:
    """Embeddings of all clips of a corpus under a condition, computed once.

    Under noise and over the telephone only those of speakers that are new to some model.
    """
    name = condition.partition(",")[0].replace(" ", "_")
    file = folder / "embeddings" / f"{corpus}_{name}.npz"
    if not file.is_file():
        clips = corpus_clips(corpus, options)
        if CONDITIONS[condition] is not None:
            clips = changed(clips, CONDITIONS[condition])
        predicted = ser_hf.predict(folder, clips, embeddings=True)
        file.parent.mkdir(exist_ok=True)
        np.savez(
            file,
            ids=predicted.ids,
            vectors=predicted.embeddings,
            logits=predicted.logits,
            labels=[LABELS.index(label) for label in predicted.table["label"].to_pylist()],
            speakers=predicted.table["speaker"].to_pylist(),
        )
    with np.load(file) as saved:
        return Clips(**{key: saved[key] for key in saved.files})


def changed(clips: Dataset, condition: Condition) -> Dataset:
    """Copies of clips under a condition, as files in memory."""
    rows: dict[str, list[Any]] = {"id": [], "label": [], "speaker": [], "audio": []}
    names = clips.features["label"].names
    for row in clips.select_columns(["id", "label", "speaker", "audio"]):
        samples = decode(row["audio"]["path"], sampling_rate=16000).samples
        file = io.BytesIO()
        soundfile.write(file, condition.apply(samples, 16000, row["id"]), 16000, format="WAV")
        rows["id"].append(row["id"])
        rows["label"].append(names[row["label"]])
        rows["speaker"].append(row["speaker"])
        rows["audio"].append({"path": f"{row['id']}.wav", "bytes": file.getvalue()})
    return Dataset.from_dict(rows).cast_column("audio", Audio(decode=False))


def uar(labels: np.ndarray, scores: np.ndarray) -> float:
    """The unweighted average recall of scores (clips, labels)."""
    predicted = scores.argmax(axis=1)
    return float(np.mean([(predicted[labels == i] == i).mean() for i in np.unique(labels)]))


def score(folder: Path, known: Clips, clips: Clips) -> dict[str, Any]:
    """The UAR of each method.

    Args:
        known: the clips of the training speakers.
        clips: the clips of new speakers.
    """
    classifier = load_classifier(folder, device="cpu")
    statistics = adaptation.embedding_statistics(known.vectors, known.speakers.tolist())
    mean = statistics.mean.astype(np.float64)
    deviation = statistics.deviation.astype(np.float64)
    within = np.concatenate([known.vectors[i] - known.vectors[i].mean(0) for i in known.groups()])
    roots = matrix_root(ledoit_wolf(within / deviation)[0], 0.5)
    moved = {name: clips.vectors.copy() for name in ("mean", "mean_deviation", "adapt", "coral")}
    for i in clips.groups():
        vectors = clips.vectors[i].astype(np.float64)
        centered = vectors - vectors.mean(axis=0)
        spread = np.maximum(vectors.std(axis=0), 0.01 * deviation)
        moved["mean"][i] = centered + mean
        moved["mean_deviation"][i] = centered / spread * deviation + mean
        moved["adapt"][i] = adaptation.moved(vectors, statistics)
        inverse = matrix_root(ledoit_wolf(centered / deviation)[0], -0.5)
        moved["coral"][i] = centered / deviation @ inverse @ roots * deviation + mean

    logits = {name: adaptation.head_logits(classifier, rows) for name, rows in moved.items()}
    scores = {"none": uar(clips.labels, clips.logits)}
    for name, rows in logits.items():
        scores[name] = uar(clips.labels, rows)
    shares = np.bincount(known.labels, minlength=len(LABELS)) / len(known.labels)
    scores["priors"] = uar(clips.labels, with_priors(clips, clips.logits, shares))
    scores["adapt_priors"] = uar(clips.labels, with_priors(clips, logits["adapt"], shares))
    scores["trained"] = uar(clips.labels, trained(known, clips))
    return {
        "uar": scores,
        "clips": len(clips.labels),
        "speakers": len(np.unique(clips.speakers)),
        "interval": paired_interval(clips, clips.logits, logits["adapt"]),
    }


def matrix_root(matrix: np.ndarray, power: float) -> np.ndarray:
    """The power of a symmetric positive matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.maximum(values, 1e-8) ** power) @ vectors.T


def with_priors(clips: Clips, logits: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Probabilities for the shares of labels in each group, which EM estimates."""
    probabilities = softmax(logits.astype(np.float64), axis=1)
    adapted = probabilities.copy()
    for i in clips.groups():
        estimate = shares.copy()
        for _ in range(100):
            adapted[i] = probabilities[i] * (estimate / shares)
            adapted[i] /= adapted[i].sum(axis=1, keepdims=True)
            estimate = adapted[i].mean(axis=0)
    return adapted


def trained(known: Clips, clips: Clips) -> np.ndarray:
    """Scores of a last layer that is trained on embeddings standardized per speaker."""
    machine = LogisticRegression(C=STRENGTH, max_iter=3000, class_weight="balanced")
    machine.fit(standardized(known), known.labels)
    return machine.predict_proba(standardized(clips))


def standardized(clips: Clips) -> np.ndarray:
    """Embeddings standardized for each speaker."""
    vectors = clips.vectors.astype(np.float64)
    for i in clips.groups():
        spread = vectors[i].std(axis=0)
        spread = np.maximum(spread, 0.01 * np.median(spread[spread > 0]))
        vectors[i] = (vectors[i] - vectors[i].mean(axis=0)) / spread
    return vectors


def paired_interval(clips: Clips, before: np.ndarray, after: np.ndarray) -> list[float]:
    """The 95 % interval of the gain, from resamples of speakers and their clips."""
    generator = np.random.default_rng(0)
    groups = list(clips.groups())
    gains = []
    for _ in range(1000):
        drawn = []
        for number in generator.integers(len(groups), size=len(groups)):
            drawn.append(generator.choice(groups[number], len(groups[number])))
        rows = np.concatenate(drawn)
        labels = clips.labels[rows]
        gains.append(uar(labels, after[rows]) - uar(labels, before[rows]))
    return np.percentile(gains, [2.5, 97.5]).tolist()


def by_group_size(folder: Path, known: Clips, clips: Clips) -> dict[str, float]:
    """The UAR of `adapt` if each speaker's clips come in random groups of this number."""
    generator = np.random.default_rng(0)

    def divide(rows: np.ndarray, size: int) -> list[np.ndarray]:
        return np.array_split(generator.permutation(rows), max(1, len(rows) // size))

    return {
        str(size): _mean_uar(folder, known, clips, lambda rows, size=size: divide(rows, size))
        for size in SIZES
    }


def with_few_emotions(folder: Path, known: Clips, clips: Clips) -> dict[str, float]:
    """The UAR of `adapt` if a group has all clips of one, two or three emotions of a speaker."""
    generator = np.random.default_rng(0)

    def divide(rows: np.ndarray, emotions: int) -> list[np.ndarray]:
        order = generator.permutation(len(LABELS))
        parts = [order[i : i + emotions] for i in range(0, len(order), emotions)]
        groups = [rows[np.isin(clips.labels[rows], part)] for part in parts]
        return [group for group in groups if len(group)]

    return {
        str(count): _mean_uar(folder, known, clips, lambda rows, count=count: divide(rows, count))
        for count in (1, 2, 3)
    }


def _mean_uar(
    folder: Path,
    known: Clips,
    clips: Clips,
    divide: Callable[[np.ndarray], list[np.ndarray]],
) -> float:
    """The mean UAR of `adapt` over random divisions of each speaker's clips into groups."""
    classifier = load_classifier(folder, device="cpu")
    statistics = adaptation.embedding_statistics(known.vectors, known.speakers.tolist())
    scores = []
    for _ in range(DRAWS):
        vectors = clips.vectors.copy()
        for rows in clips.groups():
            for group in divide(rows):
                vectors[group] = adaptation.moved(clips.vectors[group], statistics)
        scores.append(uar(clips.labels, adaptation.head_logits(classifier, vectors)))
    return float(np.mean(scores))


def batch_norm_logits(
    folder: Path, clips: Clips, corpus: str, condition: str, options: argparse.Namespace
) -> np.ndarray:
    """Logits of a network whose batch normalization has the statistics of each speaker's clips."""
    dataset = corpus_clips(corpus, options)
    if CONDITIONS[condition] is not None:
        dataset = changed(dataset, CONDITIONS[condition])
    row_of_clip = {clip: row for row, clip in enumerate(dataset["id"][:])}
    logits = np.zeros_like(clips.logits)
    for group in clips.groups():
        classifier = load_classifier(folder, device="cpu")
        of_speaker = dataset.select([row_of_clip[str(clip)] for clip in clips.ids[group]])
        norms = []
        for module in classifier.model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                norms.append(module)
        waveforms = []
        for row in of_speaker:
            samples = decode(row["audio"]["bytes"] or row["audio"]["path"]).samples
            prepared = prepare_waveform(samples, 16000, classifier.preparation)
            waveforms.append(torch.from_numpy(np.array(prepared, dtype=np.float32))[None])
        with torch.no_grad():
            # The running statistics are means over the clips.
            for number, waveform in enumerate(waveforms, start=1):
                for norm in norms:
                    norm.momentum = 1 / number
                    norm.train()
                classifier.model(waveform)
            classifier.model.eval()
            for position, waveform in zip(group, waveforms, strict=True):
                logits[position] = classifier.model(waveform).logits[0].numpy()
    return logits


def table(results: dict[str, Any]) -> str:
    """The table for benchmarks/README.md."""
    methods = list(dict.fromkeys(name for row in results.values() for name in row["uar"]))
    lines = ["| network, speakers | " + " | ".join(methods) + " | gain of adapt, 95 % |"]
    lines.append("|---" * (len(methods) + 2) + "|")
    for key, row in results.items():
        cells = [f"{row['uar'][name]:.3f}" if name in row["uar"] else "" for name in methods]
        low, high = row["interval"]
        lines.append(f"| {key} | {' | '.join(cells)} | {low:+.3f} to {high:+.3f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
