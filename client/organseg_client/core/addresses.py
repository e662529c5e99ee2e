"""From the addresses a caller gives to one transport each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar, cast

from organseg.errors import InvalidInputError
from organseg_client.options import ConnectionOptions

__all__ = ["DEFAULT_URL", "addresses", "connecting", "transports"]

DEFAULT_URL = "localhost:8001"
"""Where `make serve` listens for gRPC."""

Carrier = TypeVar("Carrier")


def addresses(url: str | Sequence[str]) -> tuple[str, ...]:
    """The addresses, in their order.

    Raises `InvalidInputError` where there is none, or one twice.
    """
    urls = (url,) if isinstance(url, str) else tuple(url)
    if not urls or len(set(urls)) != len(urls):
        raise InvalidInputError(
            f"wanted one server address or several different ones, got {len(urls)} with "
            f"{len(set(urls))} different; write for example localhost:8001"
        )
    return urls


def transports(
    urls: Sequence[str],
    given: Carrier | Callable[[str], Carrier] | None,
    default: Callable[[str], Carrier],
) -> tuple[Carrier, ...]:
    """A transport for each address: the caller's, what his function makes, or the default.

    Raises `InvalidInputError` where one transport is given for several addresses.
    """
    # A class is told from its instances by being one, though both have the methods.
    if given is None or isinstance(given, type) or not hasattr(given, "infer"):
        make = default if given is None else cast("Callable[[str], Carrier]", given)
        return tuple(make(url) for url in urls)
    if len(urls) > 1:
        raise InvalidInputError(
            f"wanted a transport for each of {len(urls)} addresses, got one transport; give a "
            "function that makes one from an address"
        )
    return (cast(Carrier, given),)


def connecting(
    transport: Callable[..., Carrier], options: ConnectionOptions
) -> Callable[[str], Carrier]:
    """What makes a transport of this class, with these options, from an address."""
    return partial(
        transport,
        tls=options.tls,
        api_key=options.api_key,
        shared_memory=options.shared_memory,
    )
