"""Freed memory is kept between steps, and returned once an epoch."""

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="the allocator is another one than glibc's"
)

# Eight times 40 MB, one after the other, each byte written: mapped again they are 80,000 pages of 4
# kB.
STEPS = """
import resource
from ser_hf.utils.environment import freed_memory_kept, return_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

with freed_memory_kept() as kept:
    b"x" * 40_000_000
    before = faults()
    for _ in range(8):
        b"x" * 40_000_000
    print(kept, faults() - before, resident() // 2**20)
    return_freed_memory()
    print(resident() // 2**20)
    b"x" * 40_000_000
print(resident() // 2**20)
"""


def test_memory_is_kept_until_the_end():
    variables = ("LD_PRELOAD", "GLIBC_TUNABLES", "MALLOC_MMAP_MAX_")
    environment = {name: value for name, value in os.environ.items() if name not in variables}
    output = subprocess.run(
        [sys.executable, "-c", STEPS], env=environment, capture_output=True, text=True, check=True
    )
    kept, faults, during, returned, after = output.stdout.split()
    assert kept == "True"
    assert int(faults) < 2_000
    assert int(during) - int(returned) > 30
    assert int(during) - int(after) > 30, "the memory is returned"
