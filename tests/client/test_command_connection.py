"""The options of a connection: where each value comes from, and what is refused."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from organseg_client import InvalidInputError
from organseg_client.command import connection
from organseg_client.command.connection import (
    API_KEY_VARIABLE,
    URL_VARIABLE,
    add_connection_options,
    connection_options,
    urls_of,
)
from organseg_client.core.addresses import DEFAULT_URL
from organseg_client.options import ApiKey, ConnectionOptions, SharedMemory, Tls


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    monkeypatch.delenv(API_KEY_VARIABLE, raising=False)


def parsed(*arguments: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_connection_options(parser)
    return parser.parse_args(list(map(str, arguments)))


def test_without_options_everything_is_the_librarys_default() -> None:
    assert urls_of(parsed()) == (DEFAULT_URL,)
    assert connection_options(parsed()) == ConnectionOptions()


@pytest.mark.parametrize(
    "arguments",
    [("--url", "a:1,b:2"), ("--url", "a:1", "--url", "b:2"), ("--url", " a:1 , b:2,,a:1")],
)
def test_several_servers_are_given_with_commas_or_again(arguments: tuple[str, ...]) -> None:
    assert urls_of(parsed(*arguments)) == ("a:1", "b:2")


def test_the_environment_gives_the_servers_where_no_option_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(URL_VARIABLE, "a:1,b:2")
    assert urls_of(parsed()) == ("a:1", "b:2")
    assert urls_of(parsed("--url", "c:3")) == ("c:3",)
    monkeypatch.setenv(URL_VARIABLE, "")
    assert urls_of(parsed()) == (DEFAULT_URL,)


def test_retries_are_attempts_beyond_the_first() -> None:
    assert connection_options(parsed("--retries", 0)).retry.attempts == 1
    assert connection_options(parsed("--retries", 7)).retry.attempts == 8


def test_shared_memory_and_tls_are_passed_on(tmp_path: Path) -> None:
    assert connection_options(parsed("--shared-memory", "off")).shared_memory is SharedMemory.OFF
    assert connection_options(parsed("--tls")).tls == Tls()
    root, key, chain = (tmp_path / name for name in ("root.pem", "key.pem", "chain.pem"))
    for file in (root, key, chain):
        file.write_text("PEM")
    arguments = ("--tls-root", root, "--tls-key", key, "--tls-certificate", chain)
    assert connection_options(parsed(*arguments)).tls == Tls(root, key, chain)


def test_a_key_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(API_KEY_VARIABLE, "from-environment\n")
    assert connection_options(parsed()).api_key == ApiKey("from-environment")
    file = tmp_path / "key"
    file.write_text("  from-file\n")
    options = connection_options(parsed("--api-key-file", file, "--api-key-header", "x-key"))
    assert options.api_key == ApiKey("from-file", header="x-key")
    assert "from-file" not in repr(options)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--url", " , "), "for --url"),
        (("--retries", "-1"), "wanted --retries of 0 or more"),
        (("--api-key-file", "none/key"), "No such file"),
        (("--tls-key", "none/key.pem"), "No such file"),
        (("--tls-root", "."), "Is a directory"),
        (("--deadline", "0"), "a deadline of some seconds"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_sent(
    arguments: tuple[str, ...], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInputError, match=words):
        connection.open_client(parsed(*arguments))


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe"])
def test_a_file_without_a_key_is_refused_and_its_content_not_shown(
    content: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(InvalidInputError, match="wanted the server's key in"):
        connection_options(parsed("--api-key-file", file))
