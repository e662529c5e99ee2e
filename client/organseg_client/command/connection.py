"""The options that say which server is asked and how, the same for every subcommand.

The API key comes from the environment or from a file, never as an argument: arguments are seen
by everybody on a machine, and stay in the shell's history.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from organseg.errors import InvalidInputError
from organseg_client.client import OrganSegClient
from organseg_client.core.addresses import DEFAULT_URL
from organseg_client.deadline import DEFAULT_DEADLINE_S
from organseg_client.options import ApiKey, ConnectionOptions, RetryPolicy, SharedMemory, Tls

__all__ = [
    "API_KEY_VARIABLE",
    "ENVIRONMENT_HELP",
    "URL_VARIABLE",
    "add_connection_options",
    "connection_options",
    "open_client",
    "urls_of",
]

URL_VARIABLE = "ORGANSEG_URL"
API_KEY_VARIABLE = "ORGANSEG_API_KEY"

ENVIRONMENT_HELP = f"""environment:
  {URL_VARIABLE}      servers to ask where --url is not given; several with commas between
  {API_KEY_VARIABLE}  the server's key where --api-key-file is not given
  NO_COLOR          any value: no colours"""

_DEFAULT_RETRIES = RetryPolicy().attempts - 1


def add_connection_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of a connection, as a group of their own."""
    group = parser.add_argument_group("connection")
    group.add_argument(
        "--url",
        metavar="HOST:PORT",
        action="append",
        help="the server's gRPC address; several, with commas between or by --url again, share "
        f"the calls and stand in for each other (default: ${URL_VARIABLE}, else {DEFAULT_URL})",
    )
    group.add_argument(
        "--deadline",
        type=float,
        metavar="S",
        default=DEFAULT_DEADLINE_S,
        help="seconds that a call may take in all, retries included (default: %(default)g)",
    )
    group.add_argument(
        "--retries",
        type=int,
        metavar="N",
        default=_DEFAULT_RETRIES,
        help="how often a call is sent again where the server is busy or gone; bad input, a "
        "refused key and a passed deadline never are (default: %(default)s; 0 for never)",
    )
    group.add_argument(
        "--shared-memory",
        choices=[choice.value for choice in SharedMemory],
        default=SharedMemory.AUTO.value,
        help="whether arrays go through shared memory: auto, where a server on this machine "
        "takes it; off; or required, an error without it (default: %(default)s)",
    )
    group.add_argument(
        "--api-key-file",
        type=Path,
        metavar="FILE",
        help=f"file that holds the server's key (default: the key in ${API_KEY_VARIABLE}, else "
        "none is sent)",
    )
    group.add_argument(
        "--api-key-header",
        metavar="NAME",
        default=ApiKey.header,
        help="the header that carries the key (default: %(default)s)",
    )
    group.add_argument(
        "--tls",
        action="store_true",
        help="encrypt, and check the server by this machine's list of authorities",
    )
    group.add_argument(
        "--tls-root",
        type=Path,
        metavar="FILE",
        help="encrypt, and check the server by the authorities in this PEM file",
    )
    group.add_argument(
        "--tls-certificate",
        type=Path,
        metavar="FILE",
        help="encrypt, and show the server this certificate chain (PEM); wants --tls-key",
    )
    group.add_argument(
        "--tls-key",
        type=Path,
        metavar="FILE",
        help="the private key of --tls-certificate (PEM)",
    )


def open_client(options: argparse.Namespace) -> OrganSegClient:
    """The client that the options describe; nothing is asked yet.

    Raises `InvalidInputError` for options that make no sense or files that cannot be read.
    """
    return OrganSegClient(
        urls_of(options), deadline_s=options.deadline, options=connection_options(options)
    )


def connection_options(options: argparse.Namespace) -> ConnectionOptions:
    """The way to the servers that the options describe.

    Raises `InvalidInputError` as `open_client` does.
    """
    return ConnectionOptions(
        retry=_retry_policy(options.retries),
        tls=_tls(options),
        api_key=_api_key(options.api_key_file, options.api_key_header),
        shared_memory=SharedMemory(options.shared_memory),
    )


def urls_of(options: argparse.Namespace) -> tuple[str, ...]:
    """The servers to ask: those of `--url`, else of the environment, else the default."""
    given = options.url or [os.environ.get(URL_VARIABLE, "")]
    urls = [part.strip() for words in given for part in words.split(",") if part.strip()]
    if options.url and not urls:
        raise InvalidInputError(
            "wanted a server's HOST:PORT for --url, got an empty one; give for example "
            f"{DEFAULT_URL}"
        )
    return tuple(dict.fromkeys(urls)) or (DEFAULT_URL,)


def _retry_policy(retries: int) -> RetryPolicy:
    if retries < 0:
        raise InvalidInputError(f"wanted --retries of 0 or more, got {retries}; 0 is for never")
    return RetryPolicy(attempts=retries + 1)


def _tls(options: argparse.Namespace) -> Tls | None:
    files = (options.tls_root, options.tls_key, options.tls_certificate)
    if not options.tls and files == (None, None, None):
        return None
    for file in files:
        if file is not None:
            _read(file, "a PEM file")
    root, key, certificate = files
    return Tls(root_certificates=root, private_key=key, certificate_chain=certificate)


def _api_key(file: Path | None, header: str) -> ApiKey | None:
    if file is None:
        key = os.environ.get(API_KEY_VARIABLE, "").strip()
        if not key:
            return None
    else:
        key = _read(file, "the server's key").strip()
        if not key:
            raise InvalidInputError(
                f"wanted the server's key in {file}, got an empty file; write the key into it"
            )
    return ApiKey(key, header=header)


def _read(file: Path, what: str) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        words = error.strerror if isinstance(error, OSError) else "bytes that are no text"
        raise InvalidInputError(
            f"wanted {what} in {file}, got: {words}; check the file's name and permissions"
        ) from error
