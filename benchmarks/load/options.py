"""Arguments of the commands that make load: the connection, the users, the workload."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.load.observation import ServerView
from benchmarks.load.plan import WorkloadSpec
from benchmarks.load.target import TargetKind, TargetSpec
from benchmarks.load.window import Mix
from benchmarks.options import count, positive
from benchmarks.served import Served
from benchmarks.statistics import StatisticsReader
from organseg.errors import OrganSegError
from organseg_client import ApiKey, SharedMemory

_DEFAULTS = WorkloadSpec()


def add_connection_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the users' connections, named as the client's own command names them."""
    group = parser.add_argument_group("connection")
    group.add_argument(
        "--deadline",
        type=positive,
        default=TargetSpec.deadline_s,
        metavar="S",
        help="seconds that a request may take (default: %(default)g)",
    )
    group.add_argument(
        "--shared-memory",
        choices=[choice.value for choice in SharedMemory],
        default=SharedMemory.OFF.value,
        help="whether arrays bypass the connection (default: %(default)s)",
    )
    group.add_argument(
        "--api-key-file",
        type=Path,
        metavar="FILE",
        help="file that holds the server's key (default: the key in $ORGANSEG_API_KEY, else none)",
    )
    group.add_argument(
        "--api-key-header",
        metavar="NAME",
        default=ApiKey.header,
        help="the header that carries the key (default: %(default)s)",
    )
    group.add_argument("--tls", action="store_true", help="encrypt, by this machine's authorities")
    group.add_argument(
        "--tls-root", type=Path, metavar="FILE", help="encrypt, by the authorities in this PEM file"
    )
    group.add_argument(
        "--tls-certificate", type=Path, metavar="FILE", help="certificate chain to show (PEM)"
    )
    group.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key (PEM)")
    group.add_argument(
        "--metrics-url",
        metavar="URL",
        help="where a server named by --url tells its metrics, for what is kept "
        "(default: not looked at)",
    )


def add_mix_options(parser: argparse.ArgumentParser) -> None:
    """Adds what the mixes are made of."""
    parser.add_argument(
        "--repeated-images",
        type=count,
        default=_DEFAULTS.repeated_images,
        metavar="N",
        help="images of the mix `repeated` (default: %(default)s)",
    )
    parser.add_argument(
        "--questions-per-session",
        type=count,
        default=_DEFAULTS.questions_per_session,
        metavar="N",
        help="questions about each image in the mix `sessions` (default: %(default)s)",
    )
    parser.add_argument(
        "--side",
        type=count,
        metavar="PIXELS",
        help="bring images to this many rows and columns (default: their own)",
    )


def target_spec(options: argparse.Namespace, address: str, mix: Mix) -> TargetSpec:
    """Who is asked in a mix, by the connection that the options describe."""

    def absolute(path: Path | None) -> str | None:
        # The load process runs in another folder.
        return None if path is None else str(path.resolve())

    return TargetSpec(
        TargetKind.ORGAN_SEG_SESSION if mix is Mix.SESSIONS else TargetKind.ORGAN_SEG,
        address,
        deadline_s=options.deadline,
        shared_memory=options.shared_memory,
        tls=options.tls,
        tls_root=absolute(options.tls_root),
        tls_certificate=absolute(options.tls_certificate),
        tls_key=absolute(options.tls_key),
        api_key_file=absolute(options.api_key_file),
        api_key_header=options.api_key_header,
    )


def input_spec(options: argparse.Namespace) -> WorkloadSpec:
    """Images and questions that the options of `add_input_options` name."""
    return WorkloadSpec(
        # The load process runs in another folder.
        images=tuple(str(path.resolve()) for path in options.images),
        texts=tuple(options.questions),
        seed=options.seed,
    )


def workload_spec(options: argparse.Namespace) -> WorkloadSpec:
    """The same with what the mixes are made of, by `add_mix_options`."""
    return replace(
        input_spec(options),
        repeated_images=options.repeated_images,
        questions_per_session=options.questions_per_session,
        side=options.side,
    )


def server_view(options: argparse.Namespace, server: Served) -> ServerView:
    """Where the server is looked at; Triton's statistics are asked without encryption alone.

    A server named by address that does not give them is measured without, and that is said.
    """
    is_encrypted = options.tls or options.tls_root is not None or options.tls_key is not None
    statistics = None if is_encrypted else server.address.split(",")[0]
    if statistics is not None and server.session is None:
        try:
            with StatisticsReader(statistics) as reader:
                reader.read()
        except OrganSegError as error:
            print(f"Measuring without Triton's statistics: {error}", file=sys.stderr, flush=True)
            statistics = None
    return ServerView(server.session, statistics, server.metrics_url or options.metrics_url)
