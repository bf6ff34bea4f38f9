"""Measure the speed of training in clips per second, compared with the usual alternatives.

    python benchmarks/throughput.py --corpus-root data/RAVDESS [--part a b c d e f] [--again]
    [--repeats 3] [--readme]

a   An epoch of the crnn with its default options, with validation and checkpoint: our Trainer,
    which reads the waveform store, compared with transformers' audio-classification example
    (`example_loop.py`). Both have the same network, optimizer, random batches of 16 and crops. The
    example reads the same clips as 16-bit WAV or FLAC files, with soundfile and soxr. The store is
    built once per corpus. Where the example reads 48 kHz, 1/40 of the time to build the store is
    added to each epoch, since ravdess_crnn has 40 epochs. Uncropped clips are the default of the
    example. On a CPU with units for products of bfloat16 matrices (AMX), both are also measured in
    bf16.
b   An encoder as large as wav2vec2-base with random weights and a frozen stem, as in the example,
on clips of 1 to 8
    s: batches of similar length compared with the random batches of the example; with AMX also in
        bf16.
c   The same encoder, completely frozen: a recipe with `freeze.cache` compared with the same recipe
without it. d   The log-mel front end compared with torchaudio's on the same batches, and, from the
store in batches of similar
    length, with librosa's `melspectrogram` and `power_to_db` for one file at a time; all on one
    thread.
e   On a GPU: steps of that encoder by precision, attention and compilation, and their share of the
peak of the device. f   Three networks on crops of 3 s with freed memory kept, as in runs on a CPU,
compared with returning it to the
    system.

The settings alternate, in reversed order in every other repeat. A ratio belongs to one repeat. The
table has the median, the minimum and the maximum of the ratios. Results are saved in
benchmarks/results/throughput.json; a part with results is measured again with `--again` only.
`--readme` prints the table. torch uses all of its threads. `--quick` measures small sizes into
another file. The example has as many data workers as our Trainer: none on a CPU.
"""

import argparse
import datetime
import os
import sys
import time
import warnings
from pathlib import Path

import datasets
import torch
import transformers
from fixed_split import read, write
from gpu_steps import gpu_steps
from side_by_side import table
from throughput_front_end import front_end
from throughput_frozen import frozen_cache
from throughput_training import crnn_training, kept_memory, length_groups

from ser_hf.experiment.sections import environment_section
from ser_hf.utils.errors import UserError

RESULTS = Path(__file__).parent / "results" / "throughput.json"
QUICK = Path("runs") / "throughput_quick.json"
PARTS = {
    "a": crnn_training,
    "b": length_groups,
    "c": frozen_cache,
    "d": front_end,
    "e": gpu_steps,
    "f": kept_memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus-root", default="data/RAVDESS")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--again", action="store_true", help="measure parts again that have results"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help=f"tiny sizes, into {QUICK}")
    parser.add_argument("--results", type=Path)
    parser.add_argument("--readme", action="store_true")
    options = parser.parse_args()
    path = options.results or (QUICK if options.quick else RESULTS)
    for name in [] if options.readme else options.part:
        results = read(path)
        if name in results.get("parts", {}) and not options.again:
            print(f"part {name}: already in {path}; --again measures it again")
            continue
        if name == "e" and not torch.cuda.is_available():
            print("part e: skipped, no GPU")
            continue
        began = time.perf_counter()
        try:
            rows = PARTS[name](options)
        except UserError as error:
            sys.exit(f"error: {error}")
        results = read(path)
        results.setdefault("parts", {})[name] = {
            "rows": rows,
            "repeats": options.repeats,
            "quick": options.quick,
            "seconds": time.perf_counter() - began,
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "command": f"python benchmarks/throughput.py --part {name}{' --quick' * options.quick}",
            "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
            "environment": environment_section().to_dict(),
        }
        write(path, results)
        print(table({name: results["parts"][name]}), flush=True)
    print("\n" + table(read(path).get("parts", {})))


if __name__ == "__main__":
    warnings.filterwarnings("ignore", category=UserWarning)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    main()
