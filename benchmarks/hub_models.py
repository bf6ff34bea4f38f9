"""Evaluate well-known emotion classifiers of the Hub on speakers of RAVDESS, EMO-DB and CREMA-D.

    python benchmarks/hub_models.py --corpus-root data --runs runs/hub_models
    python benchmarks/hub_models.py --corpus-root data --models runs/a someone/model

The corpora are in the folders RAVDESS, EMO-DB and CREMA-D below the root; those that are missing
are left out. Of RAVDESS, the test speakers 21 to 24 of the fixed split are evaluated, of the others
all speakers. The script resumes: evaluated cells are read from the folder of runs. It needs the
Hub, and says so if it is out of reach.

`TRAINED_ON` has the training corpora that the models' cards name. No file of these models lists
their training speakers, so figures on these corpora are not of new speakers.
"""

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import Any

from fixed_split import SPLIT, read, write
from huggingface_hub import HfApi

from ser_hf.experiment.matrix import Matrix, evaluate_matrix
from ser_hf.experiment.matrix_page import notes, table

# The classifiers of emotions in speech that tutorials, issues and applications use most.
MODELS = (
    "ehcalabres/wav2vec2-lg-xlsr-en-speech-emotion-recognition",
    "superb/wav2vec2-base-superb-er",
    "superb/wav2vec2-large-superb-er",
    "superb/hubert-base-superb-er",
    "superb/hubert-large-superb-er",
    "harshit345/xlsr-wav2vec-speech-emotion-recognition",
    "r-f/wav2vec-english-speech-emotion-recognition",
    "firdhokk/speech-emotion-recognition-with-openai-whisper-large-v3",
    "Dpngtm/wav2vec2-emotion-recognition",
    "3loi/SER-Odyssey-Baseline-WavLM-Categorical",
)
TRAINED_ON = {
    "ehcalabres/wav2vec2-lg-xlsr-en-speech-emotion-recognition": ["ravdess"],
    "superb/wav2vec2-base-superb-er": ["iemocap"],
    "superb/wav2vec2-large-superb-er": ["iemocap"],
    "superb/hubert-base-superb-er": ["iemocap"],
    "superb/hubert-large-superb-er": ["iemocap"],
    "r-f/wav2vec-english-speech-emotion-recognition": ["ravdess", "savee", "tess"],
    "firdhokk/speech-emotion-recognition-with-openai-whisper-large-v3": [
        "ravdess",
        "savee",
        "tess",
    ],
    "3loi/SER-Odyssey-Baseline-WavLM-Categorical": ["msp_podcast"],
}
FOLDERS = {"ravdess": "RAVDESS", "emodb": "EMO-DB", "cremad": "CREMA-D"}


def corpora(root: Path) -> dict[str, dict[str, Any]]:
    """The corpora below a folder, as `evaluate_matrix` takes them."""
    found = {}
    for name, folder in FOLDERS.items():
        if not (root / folder).is_dir():
            print(f"{root / folder}: no such folder; {name} is left out", file=sys.stderr)
            continue
        found[name] = {"root": str(root / folder)}
    if "ravdess" in found:
        found["ravdess"]["protocol"] = SPLIT
    return found


def hub_problem(models: list[str]) -> str | None:
    """Why the Hub is out of reach; None if it is not, or if all models are in folders."""
    on_the_hub = [model for model in models if not os.path.isdir(model)]
    if not on_the_hub:
        return None
    try:
        HfApi().model_info(on_the_hub[0], timeout=30)
    except Exception as error:  # the client raises errors of many kinds
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    return None


def rows(matrix: Matrix) -> dict[str, Any]:
    """The cells as results, by model and corpus, with what the models' cards say."""
    results = {}
    for cell in matrix.cells:
        trained_on = TRAINED_ON.get(cell.model)
        results[f"{cell.model} on {cell.corpus}"] = {
            "metric": cell.metric,
            "value": cell.value,
            "interval": cell.interval,
            "metrics": dict(cell.metrics),
            "labels": list(cell.labels),
            "clips": cell.clips,
            "speakers": cell.speakers,
            "relation": cell.relation,
            "overlap": cell.overlap,
            "left_out": cell.left_out,
            "trained_on_by_card": trained_on,
            "trained_on_this_by_card": None if trained_on is None else cell.corpus in trained_on,
            "error": cell.error,
        }
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus-root", type=Path, required=True, help="folder of the corpora")
    parser.add_argument("--runs", type=Path, default=Path("runs", "hub_models"))
    parser.add_argument(
        "--results", type=Path, default=Path(__file__).parent / "results" / "hub_models.json"
    )
    parser.add_argument("--models", nargs="+", default=list(MODELS), help="Hub ids or folders")
    parser.add_argument("--bootstrap", type=int, default=2000)
    parser.add_argument("--device")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    problem = hub_problem(arguments.models)
    if problem is not None:
        print(
            f"The Hub is out of reach: no model is evaluated. {problem}\n"
            "Run this script where https://huggingface.co can be reached, or name models in "
            "folders with --models.",
            file=sys.stderr,
        )
        return 1
    matrix = evaluate_matrix(
        arguments.models,
        corpora(arguments.corpus_root),
        arguments.runs,
        loading={"device": arguments.device},
        bootstrap=arguments.bootstrap,
        map=None,
    )
    write(arguments.results, read(arguments.results) | rows(matrix))
    print(table(matrix).to_string(index=False))
    for note in notes(matrix):
        print(f"  {note}")
    return 1 if matrix.failed else 0


if __name__ == "__main__":
    sys.exit(main())
