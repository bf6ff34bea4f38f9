"""One call from a model's name to its report on a corpus.

report = ser_hf.evaluate_model("someone/wav2vec2-emotion", "emodb", "data/EMO-DB", output="evaluations/theirs")
report["metrics"]["uar"], report["intervals"]["uar"]
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..corpora import corpus_facts, read_corpus
from ..errors import UserError
from ..whole import whole_folder
from .judge_model import Manner, candidate, judge_model
from .writing import require_place, write_judgement

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
        manner: see `ser_hf.judging.judge_model.Manner`.

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
