"""The help of the command line: every command has examples, every option its sentence."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator

import pytest

from organseg_client.command import main
from organseg_client.command.connection import API_KEY_VARIABLE, URL_VARIABLE
from organseg_client.command.exit_codes import EXIT_CODE_HELP, ExitCode
from organseg_client.command.main import build_parser

COMMANDS = ("segment", "volume", "explain", "batch", "capabilities", "health", "stats")


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Every command's parser by its name; the whole one's under the empty name."""
    whole = build_parser()
    (subparsers,) = (
        action for action in whole._actions if isinstance(action, argparse._SubParsersAction)
    )
    return {"": whole, **subparsers.choices}


PARSERS = parsers()


def examples() -> Iterator[tuple[str, list[str]]]:
    """Every example line of every help, in words of a shell, without the program's name."""
    for parser in PARSERS.values():
        lines = (parser.epilog or "").replace("\\\n", " ").splitlines()
        for line in lines:
            words = line.split(" || ")[0].strip()
            if words.startswith("organseg-client "):
                yield words, shlex.split(words, comments=True)[1:]


def test_every_command_is_there() -> None:
    assert set(COMMANDS) <= set(PARSERS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_json_and_the_same_connection(command: str) -> None:
    flags = set(PARSERS[command]._option_string_actions)
    assert "--json" in flags
    assert {
        *("--url", "--deadline", "--retries", "--shared-memory", "--api-key-file"),
        *("--api-key-header", "--tls", "--tls-root", "--tls-certificate", "--tls-key"),
    } <= flags


@pytest.mark.parametrize("command", PARSERS)
def test_every_option_is_in_the_help_with_a_sentence(command: str) -> None:
    shown = PARSERS[command].format_help()
    for action in PARSERS[command]._actions:
        if isinstance(action, argparse._SubParsersAction):
            assert all(choice.help for choice in action._choices_actions)
            continue
        assert action.help, action
        assert all(flag in shown for flag in action.option_strings), action
        if not action.option_strings:
            assert str(action.metavar) in shown


def test_no_option_takes_a_key_as_an_argument() -> None:
    flags = {flag for parser in PARSERS.values() for flag in parser._option_string_actions}
    assert {flag for flag in flags if "key" in flag} == {
        *("--api-key-file", "--api-key-header", "--tls-key"),
    }


@pytest.mark.parametrize("command", PARSERS)
def test_help_ends_with_examples_and_the_exit_codes(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"] if command else ["--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert f"organseg-client {command}" in shown.partition("examples:")[2]
    assert shown.rstrip().endswith(EXIT_CODE_HELP) or command not in ("", *COMMANDS)
    assert shown.isascii()
    assert max(map(len, shown.splitlines())) <= 100


@pytest.mark.parametrize(("line", "arguments"), list(examples()))
def test_every_example_is_one_that_the_parser_takes(line: str, arguments: list[str]) -> None:
    build_parser().parse_args(["COMMAND" if word == "..." else word for word in arguments])


def test_every_exit_code_is_in_the_help() -> None:
    listed = [int(line.split()[0]) for line in EXIT_CODE_HELP.splitlines()[1:]]
    assert listed == list(ExitCode)


def test_the_environment_is_in_the_help() -> None:
    shown = PARSERS[""].format_help()
    assert URL_VARIABLE in shown
    assert API_KEY_VARIABLE in shown
    assert "NO_COLOR" in shown


@pytest.mark.parametrize("arguments", [[], ["draw"], ["segment"], ["segment", "a.png"], ["batch"]])
def test_wrong_usage_ends_with_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == ExitCode.BAD_INPUT
    assert "usage: organseg-client" in capsys.readouterr().err
