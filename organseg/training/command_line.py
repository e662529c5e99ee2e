"""From option dataclasses to command-line flags: one flag per field, its docstring the help."""

from __future__ import annotations

import argparse
import ast
import inspect
import textwrap
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any, TypeVar

Options = TypeVar("Options")


def add_options(parser: argparse.ArgumentParser, defaults: Any, *, prefix: str = "") -> None:
    """Adds a group with one flag per field of the dataclass instance `defaults`."""
    kind = type(defaults)
    title = (inspect.getdoc(kind) or kind.__name__).splitlines()[0]
    group = parser.add_argument_group(f"{prefix.rstrip('-') or kind.__name__}: {title}")
    helps = field_docstrings(kind)
    for field in fields(kind):
        value = getattr(defaults, field.name)
        settings: dict[str, Any] = {
            "help": f"{helps.get(field.name, '')} (default {value})".replace("%", "%%"),
            "default": None,
            "dest": prefix + field.name,
        }
        if isinstance(value, bool):
            settings["action"] = argparse.BooleanOptionalAction
        else:
            settings["type"] = type(value)
            settings["metavar"] = type(value).__name__.upper()
        group.add_argument(f"--{prefix}{field.name.replace('_', '-')}", **settings)


def read_options(arguments: argparse.Namespace, defaults: Options, *, prefix: str = "") -> Options:
    """`defaults` with what was given on the command line put in."""
    found: Any = defaults
    given = {
        field.name: getattr(arguments, prefix + field.name)
        for field in fields(found)
        if getattr(arguments, prefix + field.name) is not None
    }
    changed: Options = replace(found, **given)
    return changed


def field_docstrings(kind: type) -> dict[str, str]:
    """The docstring line below each field of a dataclass, as its source has it."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    body = next(node for node in tree.body if isinstance(node, ast.ClassDef)).body
    found: dict[str, str] = {}
    for field, text in pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            found[field.target.id] = " ".join(str(text.value.value).split())
    return found
