"""The process group of a run in several processes."""

import pytest
import torch.distributed

from ser_hf import cli
from ser_hf.utils.processes import another_process_ended, end_process_group, launched_alone

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


# What `accelerate launch --num_processes 2 --cpu` sets.
LAUNCHED = {"ACCELERATE_MIXED_PRECISION": "no", "MASTER_PORT": "29500"}


@pytest.mark.parametrize(
    ("environment", "alone"),
    [
        (LAUNCHED, True),
        ({"ACCELERATE_MIXED_PRECISION": "no"}, False),
        (LAUNCHED | {"RANK": "0", "WORLD_SIZE": "2"}, False),
        (LAUNCHED | {"OMPI_COMM_WORLD_RANK": "0"}, False),
        ({"MASTER_PORT": "29500"}, False),
        ({}, False),
    ],
)
def test_a_launch_that_lost_its_processes_is_recognized(monkeypatch, environment, alone):
    for name in ("ACCELERATE_MIXED_PRECISION", "MASTER_PORT", "RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert launched_alone() is alone


LOST = [
    RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:3742"),
    RuntimeError("recvValue failed on SocketImpl(fd=4): Connection reset by peer"),
    ConnectionResetError(104, "Connection reset by peer"),
    BrokenPipeError(32, "Broken pipe"),
]


@pytest.mark.parametrize("error", LOST, ids=str)
def test_a_lost_connection_to_the_first_process_is_recognized(monkeypatch, error):
    monkeypatch.setenv("RANK", "1")
    assert another_process_ended(error)
    monkeypatch.setenv("RANK", "0")
    assert not another_process_ended(error)


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), ValueError("Broken pipe")])
def test_other_errors_are_faults_of_this_process(monkeypatch, error):
    monkeypatch.setenv("RANK", "1")
    assert not another_process_ended(error)


def test_a_second_process_prints_nothing(monkeypatch, capsys):
    def fail(arguments):
        raise LOST[0]

    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(cli, "_invoke", fail)
    assert cli.main(["train", "quickstart"]) == 1
    assert capsys.readouterr() == ("", "")
