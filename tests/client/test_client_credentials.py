"""TLS and API keys against the real Triton, through both transports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from both_transports import KINDS, opened
from certificates import Authority, Certificate
from encrypted_server import serving
from toy_models import TALK, talk_request, write_toy_models

from organseg import errors
from organseg.serving.embedded import EmbeddedServer, ServerOptions
from organseg.serving.embedded.invocation import ADMIN_HEADER
from organseg_client import ApiKey, ConnectionOptions, OrganSegClient, SharedMemory, Tls

pytestmark = pytest.mark.server

SECRET = "k3yOfTheTest"
KEY = ApiKey(SECRET, f"triton-grpc-protocol-{ADMIN_HEADER}")


@dataclass(frozen=True)
class World:
    """Servers that differ in how they are encrypted, and the certificates to reach them."""

    authority: Authority
    stranger: Authority
    client: Certificate
    encrypted: int
    mutual: int
    elsewhere: int
    plain: int


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("credentials")
    repository = write_toy_models(folder / "models", folder / "signs", TALK)
    authority, stranger = Authority(folder, "authority"), Authority(folder, "stranger")
    client = authority.sign("client", "DNS:client")
    here = authority.sign("here", "DNS:localhost,IP:127.0.0.1")
    elsewhere = authority.sign("elsewhere", "DNS:elsewhere.example")

    def flags(own: Certificate) -> tuple[str, ...]:
        return (
            "--grpc-use-ssl=1",
            f"--grpc-server-cert={own.certificate}",
            f"--grpc-server-key={own.key}",
        )

    mutual = ("--grpc-use-ssl-mutual=1", f"--grpc-root-cert={authority.own.certificate}")
    with ExitStack() as servers:
        yield World(
            authority,
            stranger,
            client,
            servers.enter_context(serving(repository, folder / "1", *flags(here))),
            servers.enter_context(serving(repository, folder / "2", *flags(here), *mutual)),
            servers.enter_context(serving(repository, folder / "3", *flags(elsewhere))),
            servers.enter_context(serving(repository, folder / "4")),
        )


def tls_of(authority: Authority, client: Certificate | None = None) -> Tls:
    if client is None:
        return Tls(authority.own.certificate)
    return Tls(authority.own.certificate, client.key, client.certificate)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_calls_and_streams_run_over_an_encrypted_connection(
    world: World, host: str, kind: str
) -> None:
    with opened(kind, f"{host}:{world.encrypted}", tls=tls_of(world.authority)) as transport:
        assert transport.server_metadata(10.0).name == f"organseg-test-{world.encrypted}"
        assert len(list(transport.stream(talk_request(3)))) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_wants_a_clients_certificate_gets_it(world: World, kind: str) -> None:
    tls = tls_of(world.authority, world.client)
    with opened(kind, f"localhost:{world.mutual}", tls=tls) as transport:
        assert transport.is_ready(TALK, 10.0)


def test_a_client_takes_the_encryption_from_its_options(world: World) -> None:
    options = ConnectionOptions(tls=tls_of(world.authority))
    with OrganSegClient(f"localhost:{world.encrypted}", options=options) as client:
        (server,) = client.statistics(deadline_s=10.0).servers
    assert [model.name for model in server.models] == [TALK]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("server", "credentials", "words"),
    [
        ("encrypted", "none", r"may want encryption \(Tls\)"),
        ("encrypted", "stranger", "wanted a server whose certificate the given authorities"),
        ("encrypted", "system", "wanted a server whose certificate the given authorities"),
        ("elsewhere", "authority", "wanted a server whose certificate names this address"),
        ("plain", "authority", "may speak without encryption: leave Tls out"),
        ("mutual", "authority", "certificate of a client that it knows"),
        ("mutual", "none", r"may want encryption \(Tls\)"),
    ],
)
def test_a_mismatch_of_encryption_says_which_side_to_change(
    world: World, server: str, credentials: str, words: str, kind: str
) -> None:
    tls = {
        "none": None,
        "system": Tls(),
        "authority": tls_of(world.authority),
        "stranger": tls_of(world.stranger),
    }[credentials]
    with (
        opened(kind, f"localhost:{getattr(world, server)}", tls=tls) as transport,
        pytest.raises(errors.ServerUnreachableError, match=words),
    ):
        transport.server_metadata(10.0)


@pytest.mark.parametrize("kind", KINDS)
def test_files_that_are_no_certificates_are_refused_before_anything_is_sent(
    world: World, tmp_path: Path, kind: str
) -> None:
    text = tmp_path / "patient.txt"
    text.write_text("no certificate")
    encrypted = tmp_path / "encrypted.key"
    encrypted.write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMII=\n")
    own, client = world.authority.own.certificate, world.client
    for tls, words in (
        (Tls(text), "wanted PEM files .* root_certificates"),
        (Tls(tmp_path / "nowhere"), "No such file"),
        (Tls(own, client.key), "wanted the certificate chain of the private key"),
        (Tls(own, None, client.certificate), "wanted the private key"),
        (Tls(own, text, client.certificate), "wanted PEM files .* private_key"),
        (Tls(own, world.stranger.own.key, client.certificate), "fit each other"),
        (Tls(own, encrypted, client.certificate), "without a password"),
    ):
        with pytest.raises(errors.InvalidInputError, match=words) as caught:
            opened(kind, "localhost:1", tls=tls).__enter__()
        assert "patient" not in str(caught.value)


@pytest.fixture(scope="module")
def restricted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that keeps model control and shared memory to those who have a key."""
    folder = tmp_path_factory.mktemp("restricted")
    repository = write_toy_models(folder / "models", folder / "signs", TALK)
    options = ServerOptions(
        grpc_port=0, http_port=0, metrics_port=0, admin_key=SECRET, stop_timeout_s=1
    )
    with EmbeddedServer(repository, options) as server:
        yield server.grpc_address


def large_request() -> Any:
    import dataclasses

    import numpy as np

    # Large enough for shared memory, which is what this server restricts.
    request = talk_request(1)
    refusal = np.array([bytes(2 << 20)], dtype=object)
    return dataclasses.replace(request, inputs={**request.inputs, "REFUSAL": refusal})


@pytest.mark.parametrize("kind", KINDS)
def test_a_restricted_protocol_opens_to_its_key_alone(restricted: str, kind: str) -> None:
    options = {"shared_memory": SharedMemory.REQUIRED}
    with (
        opened(kind, restricted, **options) as transport,
        pytest.raises(errors.AuthenticationError, match="wanted memory shared with the server"),
    ):
        transport.infer(large_request())
    wrong = ApiKey("other", KEY.header)
    with (
        opened(kind, restricted, api_key=wrong, **options) as transport,
        pytest.raises(errors.AuthenticationError) as caught,
    ):
        transport.infer(large_request())
    assert "other" not in str(caught.value)
    with opened(kind, restricted, api_key=KEY, **options) as transport:
        # Past the restriction: what is wrong now is that the model streams.
        with pytest.raises(errors.ServerFaultError, match="decoupled"):
            transport.infer(large_request())
        assert len(list(transport.stream(talk_request(2)))) == 2


@pytest.mark.parametrize("key", ["", "two\nlines", "schlüssel", "tab\t"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_key_that_cannot_be_sent_is_refused_without_being_shown(kind: str, key: str) -> None:
    with pytest.raises(errors.InvalidInputError, match="not shown") as caught:
        opened(kind, "localhost:1", api_key=ApiKey(key)).__enter__()
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize("header", ["", "two words", "grpc-timeout", "key-bin", "a:b"])
def test_a_header_that_cannot_be_sent_is_refused(header: str) -> None:
    with pytest.raises(errors.InvalidInputError, match="name of a header") as caught:
        opened("threads", "localhost:1", api_key=ApiKey(SECRET, header)).__enter__()
    assert SECRET not in str(caught.value)


def test_a_key_is_nowhere_to_be_read() -> None:
    options = ConnectionOptions(api_key=KEY)
    with opened("threads", "localhost:1", api_key=KEY) as transport:
        assert SECRET not in f"{options!r} {KEY!r} {vars(transport)!r}"
