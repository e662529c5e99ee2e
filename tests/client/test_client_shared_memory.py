"""Shared memory with the real Triton: what goes through it, and that nothing is left of it."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from both_transports import KINDS, opened
from toy_models import ECHO, echo_request, expected_masks, until, write_toy_models
from tritonclient.grpc import service_pb2, service_pb2_grpc

from organseg import errors
from organseg.serving.embedded import EmbeddedServer, ServerOptions
from organseg.serving.embedded.invocation import ADMIN_HEADER
from organseg_client import ApiKey, AsyncGrpcTransport, GrpcTransport, SharedMemory

pytestmark = pytest.mark.server

KEY = ApiKey("keyOfTheTest", f"triton-grpc-protocol-{ADMIN_HEADER}")
REQUIRED = {"api_key": KEY, "shared_memory": SharedMemory.REQUIRED}
LARGE = (1, 1700, 1700)
"""The shape of one mask of an image that is large enough."""
FILE = 2 << 20


@dataclasses.dataclass(frozen=True)
class Server:
    """A server whose shared memory opens to a key."""

    address: str
    signs: Path
    service: Any

    def regions(self) -> dict[str, int]:
        """The regions that the server holds, and their bytes."""
        message = service_pb2.SystemSharedMemoryStatusRequest()
        answer = self.service.SystemSharedMemoryStatus(message, metadata=[_header()])
        return {name: region.byte_size for name, region in answer.regions.items()}

    def forget_regions(self) -> None:
        """As a server does that is started anew."""
        message = service_pb2.SystemSharedMemoryUnregisterRequest()
        self.service.SystemSharedMemoryUnregister(message, metadata=[_header()])

    def go_on(self) -> None:
        (self.signs / "go on").touch()

    def hold(self) -> None:
        (self.signs / "go on").unlink(missing_ok=True)


def _header() -> tuple[str, str]:
    return KEY.header, KEY.key


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("shared")
    repository = write_toy_models(folder / "models", folder / "signs", ECHO)
    options = ServerOptions(
        grpc_port=0, http_port=0, metrics_port=0, admin_key=KEY.key, stop_timeout_s=1
    )
    with (
        EmbeddedServer(repository, options) as server,
        grpc.insecure_channel(
            server.grpc_address, options=[("grpc.enable_http_proxy", 0)]
        ) as channel,
    ):
        service = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        yield Server(server.grpc_address, folder / "signs", service)


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    """The server, which holds no region before a test and none after."""
    running.hold()
    assert running.regions() == {}
    yield running
    running.go_on()
    until(lambda: running.regions() == {})
    assert names_left() == []


def names_left() -> list[str]:
    own = f"organseg-client-{os.getpid()}-*"
    return [path.name for path in Path("/dev/shm").glob(own)]


def check(response: Any, length: int, shape: tuple[int, int, int] = LARGE) -> None:
    assert np.array_equal(response.outputs["MASKS"], expected_masks(length, shape))
    assert response.outputs["LENGTH"].tolist() == [length]


@pytest.mark.parametrize("kind", KINDS)
def test_large_files_and_masks_go_through_one_region_that_is_used_again(
    server: Server, kind: str
) -> None:
    with opened(kind, server.address, **REQUIRED) as transport:
        check(transport.infer(echo_request(FILE, LARGE)), FILE)
        held = server.regions()
        assert [size > FILE + 13 * 1700 * 1700 for size in held.values()] == [True]
        assert names_left() == []
        # Fewer masks than there is room for, none, and as many as fit.
        for count in (2, 0, 13):
            shape = (count, *LARGE[1:])
            check(transport.infer(echo_request(FILE + count, shape)), FILE + count, shape)
        assert server.regions() == held


@pytest.mark.parametrize("kind", KINDS)
def test_results_stay_as_they_are_when_their_region_is_used_again(
    server: Server, kind: str
) -> None:
    with opened(kind, server.address, **REQUIRED) as transport:
        first, second = (transport.infer(echo_request(FILE + i, LARGE)) for i in (0, 1))
    check(first, FILE)
    check(second, FILE + 1)


@pytest.mark.parametrize("kind", KINDS)
def test_small_tensors_and_outputs_of_unknown_size_go_along(server: Server, kind: str) -> None:
    with opened(kind, server.address, **REQUIRED) as transport:
        check(transport.infer(echo_request(1000, (2, 512, 512))), 1000, (2, 512, 512))
        check(transport.infer(echo_request(1000, LARGE, knows_size=False)), 1000)
        assert server.regions() == {}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options",
    [
        {"shared_memory": SharedMemory.AUTO},
        {"shared_memory": SharedMemory.OFF, "api_key": KEY},
    ],
    ids=["no key", "off"],
)
def test_without_shared_memory_everything_goes_along(
    server: Server, options: dict[str, Any], kind: str
) -> None:
    with opened(kind, server.address, **options) as transport:
        for _ in range(2):
            check(transport.infer(echo_request(FILE, LARGE)), FILE)
            assert server.regions() == {}


@pytest.mark.parametrize("kind", KINDS)
def test_where_it_is_required_every_call_without_it_is_an_error(server: Server, kind: str) -> None:
    with opened(kind, server.address, shared_memory=SharedMemory.REQUIRED) as transport:
        for _ in range(2):
            with pytest.raises(errors.AuthenticationError, match="shared with the server"):
                transport.infer(echo_request(FILE, LARGE))
    with pytest.raises(errors.InvalidInputError, match="a server on this machine"):
        opened(kind, "example.org:8001", shared_memory=SharedMemory.REQUIRED).__enter__()


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_for_which_there_is_no_room_goes_along(server: Server, kind: str) -> None:
    request = dataclasses.replace(echo_request(FILE, LARGE), output_bytes={"MASKS": 1 << 50})
    with opened(kind, server.address, api_key=KEY) as transport:
        check(transport.infer(request), FILE)
    with (
        opened(kind, server.address, **REQUIRED) as transport,
        pytest.raises(errors.ServerFaultError, match="No space left on device"),
    ):
        transport.infer(request)


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_that_fails_leaves_nothing(server: Server, kind: str) -> None:
    broken = dataclasses.replace(echo_request(FILE, LARGE), model_name="nobody")
    with opened(kind, server.address, **REQUIRED) as transport:
        for _ in range(3):
            with pytest.raises(errors.ServerFaultError):
                transport.infer(broken)
        check(transport.infer(echo_request(FILE, LARGE)), FILE)
        assert len(server.regions()) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_region_that_a_request_past_its_deadline_still_writes_to_is_not_used_again(
    server: Server, kind: str
) -> None:
    with opened(kind, server.address, **REQUIRED) as transport:
        with pytest.raises(errors.DeadlineExceededError):
            transport.infer(echo_request(FILE, LARGE, waits=True, deadline_s=2.0))
        late = set(server.regions())
        assert len(late) == 1
        response = transport.infer(echo_request(FILE + 1, LARGE))
        assert len(server.regions()) == 2
        server.go_on()
        check(response, FILE + 1)
        check(transport.infer(echo_request(FILE + 2, LARGE)), FILE + 2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_has_forgotten_the_regions_gets_new_ones(server: Server, kind: str) -> None:
    with opened(kind, server.address, **REQUIRED) as transport:
        check(transport.infer(echo_request(FILE, LARGE)), FILE)
        before = set(server.regions())
        server.forget_regions()
        check(transport.infer(echo_request(FILE + 1, LARGE)), FILE + 1)
        assert len(server.regions()) == 1
        assert not before & set(server.regions())


@pytest.mark.parametrize("kind", KINDS)
def test_clients_and_threads_beside_each_other_never_meet(server: Server, kind: str) -> None:
    with (
        opened(kind, server.address, **REQUIRED) as one,
        opened(kind, server.address, **REQUIRED) as other,
        ThreadPoolExecutor(6) as pool,
    ):
        lengths = range(FILE, FILE + 24)
        answers = pool.map(
            lambda length: (one, other)[length % 2].infer(echo_request(length, LARGE)), lengths
        )
        for length, response in zip(lengths, answers, strict=True):
            check(response, length)
        assert 2 <= len(server.regions()) <= 12


@pytest.mark.parametrize("kind", KINDS)
def test_closing_during_a_call_takes_its_region_back(server: Server, kind: str) -> None:
    (server.signs / "echoing").unlink(missing_ok=True)
    with opened(kind, server.address, **REQUIRED) as transport, ThreadPoolExecutor(2) as pool:
        call = pool.submit(transport.infer, echo_request(FILE, LARGE, waits=True))
        until((server.signs / "echoing").exists)
        closing = pool.submit(transport.close)
        with pytest.raises(errors.ServerUnreachableError):
            call.result(timeout=20)
        server.go_on()
        closing.result(timeout=20)
        assert server.regions() == {}


def test_a_cancelled_task_leaves_nothing(server: Server) -> None:
    async def cancel_one() -> None:
        transport = AsyncGrpcTransport(server.address, **REQUIRED)
        (server.signs / "echoing").unlink(missing_ok=True)
        task = asyncio.create_task(transport.infer(echo_request(FILE, LARGE, waits=True)))
        await asyncio.to_thread(until, (server.signs / "echoing").exists)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(server.regions()) == 1
        check(await transport.infer(echo_request(FILE + 1, LARGE)), FILE + 1)
        server.go_on()
        await transport.close()

    asyncio.run(cancel_one())


def test_a_transport_that_is_forgotten_gives_its_regions_back(server: Server) -> None:
    transport = GrpcTransport(server.address, **REQUIRED)
    check(transport.infer(echo_request(FILE, LARGE)), FILE)
    assert len(server.regions()) == 1
    # Triton lets go of a region a moment after it has answered.
    check(transport.infer(echo_request(10)), 10, (1, 4, 4))
    del transport
    gc.collect()
