"""The process group of a run in several processes."""

import pytest
import torch.distributed

from ser_hf.utils.processes import end_process_group

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="this torch has no torch.distributed"
)


def test_without_a_group_nothing_happens():
    assert not torch.distributed.is_initialized()
    end_process_group()
    assert not torch.distributed.is_initialized()


def test_a_group_is_ended(tmp_path):
    torch.distributed.init_process_group(
        "gloo", init_method=(tmp_path / "store").as_uri(), rank=0, world_size=1
    )
    end_process_group()
    assert not torch.distributed.is_initialized()
