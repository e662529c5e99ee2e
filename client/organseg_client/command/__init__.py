"""The command `organseg-client`: one subcommand a module, each with the same two functions."""

from organseg_client.command.main import main

__all__ = ["main"]
