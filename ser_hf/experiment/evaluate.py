"""A model judged on a corpus, from its name to a report: the way of `ser-hf evaluate`."""

import contextlib
import dataclasses
import json
import logging
import math
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm.auto import tqdm

from ..audio import prepare
from ..audio.transforms import Waveforms
from ..corpora import Corpus, corpus_facts, read_corpus
from ..evaluation.embeddings import FEWEST, available, project, subset
from ..evaluation.predictions import Judged, of_rows, to_table
from ..evaluation.robustness import check_opus, robustness
from ..evaluation.summary import evaluate_predictions
from ..inference.batches import hear, listening
from ..inference.classifier import Expert, load_expert
from ..inference.inputs import Chunk, Recording
from ..inference.outputs import probabilities
from ..models.preparation import Preparation, prepare_waveform
from ..report.report import Report
from ..report.write import write_report
from ..utils.environment import environment
from ..utils.errors import UserError
from ..utils.files import whole_folder
from ..utils.logs import quiet_libraries
from .evaluation_data import Learnt, Meaning, clips_for, learnt_from, meaning_of

_CHUNK_SAMPLES = 2**23  # nine minutes at 16 kHz, 34 MB


class Listener:
    """Asks a model about waveforms as it was judged, and puts its answers into the classes of a meaning.

    Args:
        window: seconds; longer clips are heard in windows. None is as the model's own recipe judged.
        batch_size: windows at a time.
    """

    def __init__(self, expert: Expert, meaning: Meaning, window: float | None = None, batch_size: int = 16):
        self.expert, self.meaning, self.batch_size = expert, meaning, batch_size
        self.rate = expert.extractor.sampling_rate
        self.window = expert.window(window)

    def answers(
        self,
        waveforms: Waveforms | Sequence[np.ndarray],
        ids: Sequence[str],
        vectors: bool = False,
        progress: bool = True,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Probabilities float32 (clips, classes), and where asked for what the classifier's last layer is given,
        float32 (clips, size). The waveforms are prepared as the model asks for it already."""
        shares, kept = [], []
        with contextlib.ExitStack() as held:
            taken = held.enter_context(listening(self.expert, None)) if vectors else None
            shown = {"desc": "judging", "unit": "clip", "disable": None if progress else True}
            bar = held.enter_context(tqdm(total=len(ids), **shown))
            for begin, end in _chunks([len(waveforms[i]) for i in range(len(ids))]):
                own = [Recording(ids[i], ids[i]) for i in range(begin, end)]
                chunk = Chunk(own, [np.asarray(waveforms[i]) for i in range(begin, end)], self.rate)
                heard = hear(self.expert, chunk, self.window, self.batch_size, taken, bar.update)
                heard = heard.by_clip(self.expert.multi_label)
                shares.append(probabilities(heard.logits, self.expert.multi_label))
                kept.append(heard.vectors)
        return self.meaning.judged(np.concatenate(shares)), np.concatenate(kept) if vectors else None

    def __call__(self, waveforms: list[np.ndarray]) -> np.ndarray:
        """Answers to recordings as they are: prepared here, as `pipeline` would."""
        prepared = [prepare_waveform(one, self.rate, self.expert.preparation) for one in waveforms]
        return self.answers(prepared, [f"clip {i}" for i in range(len(prepared))], progress=False)[0]


def _chunks(lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    begin = samples = 0
    for i, length in enumerate(lengths):
        samples += length
        if samples >= _CHUNK_SAMPLES or i + 1 == len(lengths):
            yield begin, i + 1
            begin, samples = i + 1, 0


def embeddings_map(judged: Judged, vectors: np.ndarray) -> tuple[dict[str, Any] | None, pa.Table | None]:
    """The report's `embeddings`, and the places of the clips by every method that is installed; None for both of clips
    that are too few for a map.

    Args:
        vectors: what the classifier's last layer is given, (clips, size).
    """
    if len(judged) < FEWEST:
        return None, None
    chosen, methods = subset(len(judged)), available()
    places, some = project(vectors[chosen], methods), judged.only(chosen)
    columns: dict[str, Any] = {
        "id": some.ids,
        "label": [some.names[label] for label in some.labels],
        "speaker": some.speakers,
        "corpus": some.columns["corpus"],
    }
    for method, own in places.items():
        columns |= {f"x_{method}": own[:, 0], f"y_{method}": own[:, 1]}
    facts = {
        "methods": methods,
        "clips": len(chosen),
        "points": "embeddings.parquet",
        "of": "what the classifier's last layer is given",
    }
    return facts, pa.table(columns)


def robustness_of(listener: Listener, judged: Judged, store: Waveforms, **settings: Any) -> dict[str, Any]:
    """The report's `robustness` (`ser_hf.evaluation.robustness`, which takes `settings`); `store` holds the clips as
    they were recorded, at the model's rate."""
    told = (judged.ids, judged.labels, judged.speakers, judged.names)
    return robustness(listener, store, *told, rate=listener.rate, **settings)


logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Manner:
    """How a model is asked and judged.

    Args:
        window: seconds; longer clips are heard in windows of at most that. None is as the model's recipe judged.
        batch_size: windows at a time.
        bootstrap, confidence: resamples and coverage of the intervals.
        robustness: judge the clips under noise, in rooms, over telephones too (`ser_hf.evaluation.robustness`).
        robustness_clips: so many of them at most.
        embeddings: draw a map of what the classifier's last layer is given.
        cache_dir: where decoded waveforms are kept; None is the toolkit's own cache.

    Raises:
        UserError: for a value out of its range.
    """

    window: float | None = None
    batch_size: int = 16
    bootstrap: int = 2000
    confidence: float = 0.95
    robustness: bool = False
    robustness_clips: int | None = None
    embeddings: bool = False
    cache_dir: str | None = None

    def __post_init__(self):
        if self.window is not None and not 0.1 <= self.window < math.inf:
            raise UserError(f"--window: expected seconds, 0.1 or more, got {self.window}")
        for flag, value in (("--batch-size", self.batch_size), ("--bootstrap", self.bootstrap)):
            if value < 1:
                raise UserError(f"{flag}: expected one or more, got {value}")
        if not 0 < self.confidence < 1:
            raise UserError(f"--confidence: expected a share between 0 and 1, got {self.confidence}")
        if self.robustness_clips is not None and self.robustness_clips < 1:
            raise UserError(f"--robustness-clips: expected one or more, got {self.robustness_clips}")
        if self.robustness:
            check_opus()  # before minutes of work
        if self.robustness_clips is not None and not self.robustness:
            raise UserError("--robustness-clips: belongs to --robustness")


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A model that is to be judged: what its labels mean, and what it was made with where it tells."""

    expert: Expert
    meaning: Meaning
    learnt: Learnt | None


@dataclasses.dataclass(frozen=True)
class Judgement:
    """The report of a model on a corpus, the judged clips and their answers, where asked for the places of clips on a
    map of embeddings (`ser_hf.evaluation.embeddings`), and clips of the corpus that did not judge, counted by why."""

    report: dict[str, Any]
    judged: Judged
    points: pa.Table | None
    left_out: dict[str, int]


def candidate(
    source: str,
    label_map: Mapping[str, str] | None = None,
    *,
    revision: str | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
) -> Candidate:
    """Loads any audio classifier of transformers, ours or not; one whose classifier was never trained too, of which
    its report warns.

    Raises:
        UserError: naming the model or ``--label-map``.
    """
    settings = {"revision": revision, "device": device, "trust_remote_code": trust_remote_code}
    expert = load_expert(source, untrained=True, **settings)
    if expert.untrained:
        logger.warning("%s", _untrained(expert))
    meaning = meaning_of(expert.labels, label_map)
    for row in meaning.told():
        if row["emotion"] is None and row["counted"]:
            logger.warning("%s: its label %r is no emotion known here (--label-map)", source, row["word"])
    return Candidate(expert, meaning, learnt_from(expert.place, expert.commit))


def judge_model(model: Candidate, corpus: Corpus, name: str, manner: Manner, **chosen: Any) -> Judgement:
    """Judges a model by the clips of a corpus that may judge it.

    Args:
        name: of the report.
        chosen: which clips do (`ser_hf.experiment.evaluation_data.clips_for`).

    Raises:
        UserError: naming what is wrong with the model, the corpus or a flag.
    """
    with quiet_libraries():
        return _judged_model(model, corpus, name, manner, chosen)


def _judged_model(model: Candidate, corpus: Corpus, name: str, manner: Manner, chosen: Mapping[str, Any]) -> Judgement:
    began = time.perf_counter()
    expert, meaning = model.expert, model.meaning
    own = model.learnt
    if own and own.fold and chosen.get("protocol") == own.protocol and chosen.get("fold") is None:
        chosen = {**chosen, "fold": own.fold}  # the one whose clips it has not heard
    clips = clips_for(corpus, meaning.classes, own, **chosen)
    dataset, store = prepare(clips.dataset, expert.extractor.sampling_rate, manner.cache_dir, expert.preparation)
    listener = Listener(expert, meaning, manner.window, manner.batch_size)
    shares, vectors = listener.answers(store, dataset["id"][:], vectors=manner.embeddings)
    judged = _in_classes(of_rows(dataset, range(len(dataset)), np.zeros((len(dataset), 1))), meaning, shares)
    report = {
        "name": name,
        "kind": "evaluation",
        "judged_on": "test",
        "labels": meaning.classes,
        "protocol": clips.protocol,
        "audit": clips.audit | {"duplicates": len(dataset) - len(set(dataset["content_hash"][:]))},
        "sources": clips.sources,
        "foil": None,
        "label_words": meaning.told(),
        "model": _model_facts(model),
        **evaluate_predictions(judged, bootstrap=manner.bootstrap, confidence=manner.confidence),
        "parts": {},
        "history": [],
        "environment": environment(),
    }
    if expert.untrained:
        report["warnings"].insert(0, _untrained(expert))
    points = None
    if manner.embeddings:
        report["embeddings"], points = embeddings_map(judged, vectors)
    if manner.robustness:
        if expert.preparation != Preparation():  # conditions change recordings, before anything is done to them
            _, store = prepare(clips.dataset, expert.extractor.sampling_rate, manner.cache_dir, Preparation())
        settings = {"bootstrap": manner.bootstrap, "confidence": manner.confidence}
        report["robustness"] = robustness_of(listener, judged, store, max_clips=manner.robustness_clips, **settings)
    report["seconds"] = {"judgement": time.perf_counter() - began}
    return Judgement(report, judged, points, clips.left_out)


def _untrained(expert: Expert) -> str:
    return (
        f"The classifier of {expert.source} was never trained: {len(expert.untrained)} tensors are not in its files "
        f"({expert.untrained[0]}) and hold random numbers. These figures say nothing of it."
    )


def _in_classes(judged: Judged, meaning: Meaning, shares: np.ndarray) -> Judged:
    """The corpus's labels and votes in the classes of the answers."""
    places = [meaning.classes.index(name) if name in meaning.classes else None for name in judged.names]
    votes = judged.votes
    if votes is not None:
        moved = np.zeros((len(judged), len(meaning.classes)), np.float32)
        for own, place in enumerate(places):
            if place is not None:
                moved[:, place] += votes[:, own]
        with np.errstate(invalid="ignore"):
            votes = moved / moved.sum(axis=1, keepdims=True)  # raters who heard other emotions tell nothing here
    labels = np.asarray([places[label] for label in judged.labels])
    return dataclasses.replace(judged, names=meaning.classes, labels=labels, probabilities=shares[None], votes=votes)


def _model_facts(model: Candidate) -> dict[str, Any]:
    expert = model.expert
    return {
        "architecture": expert.model.config.model_type,
        "model_type": expert.model.config.model_type,
        "checkpoint": Path(expert.source).name if Path(expert.source).is_dir() else expert.source,
        "revision": expert.revision,
        "parameters": sum(parameter.numel() for parameter in expert.model.parameters()),
        "padding_safe": expert.padding_safe,
        "untrained": list(expert.untrained),
        "learnt_from": sorted(model.learnt.corpora) if model.learnt else None,
    }


MATRIX = "matrix.json"


def require_place(folder: Path, overwrite: bool) -> None:
    """Refuses a place that holds anything but an evaluation, and an evaluation unless it is to be replaced.

    Raises:
        UserError: naming ``--output``.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--output: {folder} is a file; name a folder")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not _is_evaluation(folder):
        raise UserError(f"--output: {folder} holds files that are no evaluation's; choose another folder")
    if not overwrite:
        raise UserError(f"--output: {folder} holds an evaluation already; replace it with --overwrite")


def _is_evaluation(folder: Path) -> bool:
    strangers = [child for child in folder.iterdir() if child.is_dir() and not _is_evaluation(child)]
    if strangers or (folder.parent / "recipe.yaml").is_file():
        return False
    if (folder / MATRIX).is_file():
        return True
    try:
        return json.loads((folder / "report.json").read_text(encoding="utf-8")).get("kind") == "evaluation"
    except (OSError, ValueError, AttributeError):
        return False


def write_judgement(
    folder: Path, judgement: Judgement, corpus: Mapping[str, Any] | None = None, above: str | None = None
) -> None:
    """Fills `folder`, which its caller makes appear whole (`ser_hf.utils.files.whole_folder`).

    Args:
        corpus: what `ser_hf.corpora.corpus_facts` says of the clips, for how to cite them.
        above: address of the matrix that this is a cell of.
    """
    folder.mkdir(parents=True, exist_ok=True)
    judged, report = judgement.judged, judgement.report
    pq.write_table(to_table("test", judged), folder / "predictions.parquet")
    if judgement.points is not None:
        pq.write_table(judgement.points, folder / report["embeddings"]["points"])
    counts = Counter(judged.labels.tolist())
    distribution = {"test": {name: counts[i] for i, name in enumerate(judged.names)}}
    report = Report.from_dict({**report, "class_distribution": distribution})
    write_report(folder, report, corpus=corpus, links={"above": above})


def summary(report: Mapping[str, Any]) -> str:
    """The headline and what flatters it, for a terminal."""
    metrics, (low, high) = report["metrics"], report["intervals"]["uar"]
    lines = [
        f"{report['name']}: UAR {metrics['uar']:.3f} ({100 * report['confidence']:g} % interval {low:.3f} to "
        f"{high:.3f}), macro-F1 {metrics['macro_f1']:.3f}, WA {metrics['wa']:.3f}; {report['clips']:,} clips of "
        f"{report['speakers']} speakers, {len(report['labels'])} labels"
    ]
    if report["protocol"]["leak"]:
        lines.append(f"  leaks: {report['protocol']['leak']}")
    lines += [f"  {note}" for note in (*report["protocol"]["notes"], *report["warnings"])]
    return "\n".join(lines)


# What `read_corpus` takes that is no option of the corpus itself.
_OF_ANY = ("labels", "merge", "drop", "exclude", "on_unknown", "sampling_rate")


def evaluate_model(
    model: str | os.PathLike,
    corpus: str,
    root: str | os.PathLike | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    protocol: str | None = None,
    protocol_options: Mapping[str, Any] | None = None,
    part: str = "test",
    fold: int | None = None,
    label_map: Mapping[str, str] | None = None,
    heard_speakers: bool = False,
    output: str | os.PathLike | None = None,
    overwrite: bool = False,
    device: str | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    **manner: Any,
) -> dict[str, Any]:
    """Judges any audio classifier on a corpus, and returns the report (`report.json`).

    Args:
        model: a run's folder, a model folder or a Hub id.
        corpus, root: as `ser_hf.load_corpus` takes them; `settings` are its other arguments (labels, merge, ...).
        protocol, protocol_options, part, fold: judge on one part of a protocol; without one on the whole corpus.
        label_map: the model's word -> emotion, or ``none`` for an answer that is not to be counted.
        heard_speakers: let speakers judge as well that a model of ours was made with; its report says that it leaks.
        output: a folder for the report, its page and pictures; an evaluation that stands there is replaced with
            `overwrite`, and nothing else ever is. None writes nothing.
        manner: see `ser_hf.experiment.evaluate.Manner`.

    Raises:
        UserError: naming the model, the file or the argument that is wrong.
    """
    try:
        asked = Manner(**manner)
    except TypeError as error:
        raise UserError(f"evaluate_model: {error}") from None
    if output is not None:
        require_place(Path(output), overwrite)
    settings = dict(settings or {})
    read = read_corpus(corpus, root, **settings)
    loading = {"device": device, "revision": revision, "trust_remote_code": trust_remote_code}
    chosen = {"protocol": protocol, "options": protocol_options, "part": part, "fold": fold, "heard": heard_speakers}
    asked_model = candidate(str(model), label_map, **loading)
    judgement = judge_model(asked_model, read, f"{model} on {corpus}", asked, **chosen)
    if output is not None:
        options = {key: value for key, value in settings.items() if key not in _OF_ANY}
        with whole_folder(Path(output), "output") as partial:
            write_judgement(partial, judgement, corpus_facts(corpus, options))
    return judgement.report
