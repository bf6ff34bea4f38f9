"""How fast it learns: clips per second against what one would write or take otherwise, both in one run.

    python benchmarks/throughput.py --corpus-root data/RAVDESS [--part a b c d e f] [--again] [--repeats 3] [--readme]

a   The crnn at its defaults for an epoch, validation and checkpoint included: our Trainer, which reads
    the waveform store, against transformers' audio-classification example (`example_loop.py`). The network, its
    optimiser, batches of 16 and the longest crop are the same; the example reads the same clips as WAV or FLAC files
    of 16 bit. The store is made once a corpus: where the example reads 48 kHz, a 40th of its making is counted to
    each epoch, as ravdess_crnn has 40. Whole clips are what the example takes unless told. On a CPU with units for
    bfloat16 matrices (AMX) also with both in bf16.
b   An encoder as large as wav2vec2-base with random weights, its stem frozen, as in the example, on clips of 1 to 8 s:
    batches of similar length against the example's random ones; on such a CPU also in bf16.
c   Such an encoder all frozen: `freeze.cache` against computing it anew in each epoch, by the same recipe.
d   The log-mel front end, batched, against librosa's `melspectrogram` and `power_to_db` file by file, all with freed
    memory kept.
e   On a GPU: steps of that encoder by precision, attention and compilation, and their share of the device's peak.
f   Three networks on crops of 3 s with freed memory kept, as runs do on a CPU, against handing it back to the system.

Ways take turns, each repeat in the other order; a ratio is of one repeat, and the table has the median, the least and
the most of the repeats. Parts that were measured are kept in benchmarks/results/throughput.json and not measured again
without `--again`; `--readme` prints its table. All threads are used that torch has; `--quick` tries everything in a
small size and keeps it apart. Data workers of the example: as many as ours, none on a CPU.
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

from ser_hf.utils.environment import environment
from ser_hf.utils.errors import UserError

RESULTS = Path(__file__).parent / "results" / "throughput.json"
QUICK = Path("runs") / "throughput_quick.json"
PARTS = {"a": crnn_training, "b": length_groups, "c": frozen_cache, "d": front_end, "e": gpu_steps, "f": kept_memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus-root", default="data/RAVDESS")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--again", action="store_true", help="measure parts anew that are in the results")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help=f"tiny sizes, into {QUICK}")
    parser.add_argument("--results", type=Path)
    parser.add_argument("--readme", action="store_true")
    options = parser.parse_args()
    path = options.results or (QUICK if options.quick else RESULTS)
    for name in [] if options.readme else options.part:
        results = read(path)
        if name in results.get("parts", {}) and not options.again:
            print(f"part {name} stands in {path}")
            continue
        if name == "e" and not torch.cuda.is_available():
            print("part e: no GPU")
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
            "environment": environment(),
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
