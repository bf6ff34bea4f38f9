"""`python -m ser_hf.cli VERB`, the same as `ser-hf VERB`."""

import sys

from . import main

sys.exit(main())
