"""What both exporters, to ONNX and to torch's own format, share: example clips, free sizes, and a quiet log."""

import contextlib
import logging
import warnings
from collections.abc import Iterator

import torch

# Of both inputs; the names stand in an ONNX file.
_AXES = {0: "batch", 1: "samples"}
DYNAMIC = {"input_values": _AXES, "attention_mask": _AXES}


def example_of(sampling_rate: int) -> dict[str, torch.Tensor]:
    """Two clips of a second, which the exporter follows through the network."""
    clips = torch.zeros(2, sampling_rate)
    return {"input_values": clips, "attention_mask": torch.ones_like(clips, dtype=torch.long)}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Neither warnings nor log lines of the exporter, which speak of its own future and of absent packages."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "torch.fx")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def told_of(error: BaseException) -> str:
    """The first line of what lies at the ground of an exporter's complaint, which runs over pages."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
