"""Predicts recordings with several processes, GPUs or machines, as `ser-hf predict` does with one.

accelerate launch -m ser_hf.predict runs/ravdess_crnn calls/ --output calls.csv
"""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main(["predict", *sys.argv[1:]]))
