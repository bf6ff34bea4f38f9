"""A tiny parent model and the recipe of a training that starts from it."""

from .recipes import TINY_CRNN

PARENT = {
    "name": "parent",
    "corpus": {
        "name": "synthetic",
        "speakers": 7,
        "takes": 1,
        "labels": ["angry", "happy", "sad"],
        "drop": ["disgust", "fear", "neutral"],
    },
    "protocol": {"train": ["01", "02"], "validation": ["03"], "test": ["04"]},
    "audio": {"sampling_rate": 8000, "max_duration": 0.5, "level": "peak"},
    "model": {**TINY_CRNN, "n_mels": 32, "normalization": "corpus"},
    "training": {"num_train_epochs": 1},
    "evaluation": {"bootstrap": 10, "map": None},
}
CHILD = {
    "name": "child",
    "corpus": {**PARENT["corpus"], "labels": ["sad", "fear", "angry"], "drop": None},
    "protocol": {
        "train": ["01"],
        "validation": ["04"],
        "test": ["05", "06"],
        "near_duplicates": "skip",
    },
    "training": {"num_train_epochs": 1},
    "evaluation": {"bootstrap": 10, "map": None},
}
CHILD["corpus"]["drop"] = ["disgust", "happy", "neutral"]
