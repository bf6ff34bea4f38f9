"""ser-hf demo: its port, and mistakes before the page is written."""

import socket

import pytest
from support.commands import complaint

from ser_hf.cli.demo import HOST, _free_port
from ser_hf.utils.errors import UserError


def test_without_a_port_any_free_one_is_used():
    port = _free_port(None)
    assert 0 < port < 65_536
    with socket.socket() as server:
        server.bind((HOST, port))


def test_a_port_that_is_in_use_is_refused():
    with socket.socket() as server:
        server.bind((HOST, 0))
        server.listen()
        port = server.getsockname()[1]
        with pytest.raises(UserError, match=f"^--port: {port} "):
            _free_port(port)


@pytest.mark.parametrize("port", [70_000, -1])
def test_a_number_that_is_no_port_is_refused(port):
    with pytest.raises(UserError, match=f"^--port: {port} "):
        _free_port(port)


def test_a_missing_package_is_named(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'ser_hf[demo]'" in complaint(capsys, "demo", "no/model")
