"""The command line, for launchers.

Example: accelerate launch -m ser_hf.cli predict runs/ravdess_crnn calls/
"""

import sys

from . import main

if __name__ == "__main__":
    sys.exit(main())
