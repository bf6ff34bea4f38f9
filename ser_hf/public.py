"""What of a recipe or report others may read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def public(values: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe or report as others may read it: no path of this machine, of which they learn nothing."""
    told = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            told[key] = public(value)
        elif isinstance(value, list) and all(isinstance(item, Mapping) for item in value):
            told[key] = [public(item) for item in value]  # the corpora of a mixture
        elif key not in ("output_dir", "cache_dir"):
            told[key] = Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
    return told


def public_name(checkpoint: str) -> str:
    """A Hub id as it is; of a folder or file on this machine only its own name."""
    return Path(checkpoint).name if Path(checkpoint).exists() else checkpoint
