"""Steps after the first do not wait for the system to hand out memory, where the user has not decided otherwise."""

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is another one than glibc's")

# Eight times 40 MB, one after the other, each byte written: mapped anew they are 80,000 pages of 4 kB.
STEPS = """
import resource
from ser_hf.utils.environment import freed_memory_kept

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
print(resident() // 2**20)
"""
OWN = ("LD_PRELOAD", "GLIBC_TUNABLES", "MALLOC_MMAP_MAX_")


def steps(**own):
    environment = {name: value for name, value in os.environ.items() if name not in OWN} | own
    told = subprocess.run([sys.executable, "-c", STEPS], env=environment, capture_output=True, text=True, check=True)
    kept, faults, during, after = told.stdout.split()
    return kept == "True", int(faults), int(during), int(after)


def test_memory_is_kept_until_the_end():
    kept, faults, during, after = steps()
    assert kept
    assert faults < 2_000
    assert during - after > 30, "what was kept goes back"


@pytest.mark.parametrize(
    "own", [{"MALLOC_MMAP_MAX_": "65536"}, {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=131072"}]
)
def test_the_users_own_settings_stand(own):
    kept, faults, _, _ = steps(**own)
    assert not kept
    assert faults > 5_000
