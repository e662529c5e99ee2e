"""The effects: all that a verb may ask of its driver.

Each has a function of the same name in lower case that yields it and gives its result typed, for
`yield from`. A driver answers an effect with its result, or throws the error it met.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Generic, Literal, Protocol, TypeAlias, TypeVar, cast

from organseg_client.transport import (
    InferenceRequest,
    InferenceResponse,
    ModelConfig,
    ModelStatistics,
    ServerMetadata,
)

__all__ = [
    "END",
    "Call",
    "Effect",
    "End",
    "Exclusively",
    "Give",
    "Items",
    "Join",
    "Next",
    "Open",
    "Start",
    "Steps",
    "Stream",
    "Take",
    "Task",
    "Verb",
    "Wait",
    "Work",
    "ask_config",
    "ask_metadata",
    "ask_ready",
    "ask_statistics",
    "exclusively",
    "give",
    "handing_over",
    "infer",
    "join",
    "next_response",
    "open_stream",
    "start",
    "take",
    "wait",
    "work",
]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class End(Enum):
    """What is taken when the items have ended; None may be an item."""

    END = "end"


END: Final = End.END


class Verb(Enum):
    """A call of a transport that has one result; the value is its method's name."""

    INFER = "infer"
    MODEL_CONFIG = "model_config"
    IS_READY = "is_ready"
    SERVER_METADATA = "server_metadata"
    STATISTICS = "statistics"


@dataclass(frozen=True)
class Call:
    """Calls a server; the result is the transport's."""

    server: int
    """Which transport, by its place among the addresses."""
    verb: Verb
    """What is called."""
    arguments: tuple[Any, ...]
    """What the method is given."""


@dataclass(frozen=True)
class Wait:
    """Pauses."""

    seconds: float
    """How long."""


@dataclass(frozen=True)
class Work:
    """Computes or reads files: where an event loop must go on, on another thread."""

    function: Callable[[], Any]
    """What to run; its result is the effect's."""


@dataclass(frozen=True)
class Exclusively:
    """Runs steps while no other call runs steps under the same name.

    Throws `TimeoutError` where others are not done in time.
    """

    name: str
    """What is kept to one call at a time."""
    steps: Steps[Any]
    """What to run; its result is the effect's."""
    within_s: float
    """How long to wait for the others."""


class Task(Protocol[T_co]):
    """Steps that run beside those that started them; a driver's own."""

    def done(self) -> bool:
        """Whether they have ended, so that joining them takes no time."""
        ...


@dataclass(frozen=True)
class Start:
    """Starts steps beside these; the result is their `Task`.

    What still runs when the steps that started it end is cancelled.
    """

    steps: Steps[Any]
    """What to run."""


@dataclass(frozen=True)
class Join:
    """Waits for a task; the result is its steps' result, the error theirs."""

    task: Task[Any]
    """Which."""


Stream: TypeAlias = Any
"""An open stream of responses: what the transport gave, opaque to a verb."""


@dataclass(frozen=True)
class Open:
    """Opens a stream of responses; the driver closes it when the steps end."""

    server: int
    """Which transport."""
    request: InferenceRequest
    """What to ask."""


@dataclass(frozen=True)
class Next:
    """The next response of a stream, None at its end."""

    stream: Stream
    """Which."""


@dataclass(frozen=True)
class Take:
    """The next of the caller's own items, `END` behind the last."""

    items: Items[Any]
    """Where they come from."""


@dataclass(frozen=True)
class Give:
    """Hands a value to the caller, who iterates; goes on when he asks for the next."""

    value: Any
    """What he gets."""


class Items(Generic[T]):
    """The caller's items, taken one by one when there is room for the next.

    An event loop's driver takes async iterables as well. Raises `TypeError` for what is neither.
    """

    def __init__(self, source: Iterable[T] | AsyncIterable[T]) -> None:
        self.iterator: Iterator[T] | AsyncIterator[T] = (
            iter(source) if isinstance(source, Iterable) else aiter(source)
        )


Effect: TypeAlias = Call | Wait | Work | Exclusively | Start | Join | Open | Next | Take | Give
"""Any of them."""

Steps: TypeAlias = Generator[Effect, Any, T]
"""A verb under way: yields effects, returns its result."""


def infer(server: int, request: InferenceRequest) -> Steps[InferenceResponse]:
    """Runs a model once."""
    return cast(InferenceResponse, (yield Call(server, Verb.INFER, (request,))))


def ask_config(server: int, model_name: str, deadline_s: float) -> Steps[ModelConfig]:
    """The configuration of a loaded model."""
    return cast(ModelConfig, (yield Call(server, Verb.MODEL_CONFIG, (model_name, deadline_s))))


def ask_ready(server: int, model_name: str, deadline_s: float) -> Steps[bool]:
    """Whether the server has the model loaded."""
    return bool((yield Call(server, Verb.IS_READY, (model_name, deadline_s))))


def ask_metadata(server: int, deadline_s: float) -> Steps[ServerMetadata]:
    """What the server says of itself."""
    return cast(ServerMetadata, (yield Call(server, Verb.SERVER_METADATA, (deadline_s,))))


def ask_statistics(server: int, deadline_s: float) -> Steps[tuple[ModelStatistics, ...]]:
    """What each loaded model has done."""
    return tuple((yield Call(server, Verb.STATISTICS, (deadline_s,))))


def wait(seconds: float) -> Steps[None]:
    """Pauses."""
    yield Wait(seconds)


def work(function: Callable[[], T]) -> Steps[T]:
    """The function's result, computed where it holds up nobody."""
    return cast(T, (yield Work(function)))


def exclusively(name: str, steps: Steps[T], within_s: float) -> Steps[T]:
    """The steps' result; raises `TimeoutError` where others under this name take too long."""
    return cast(T, (yield Exclusively(name, steps, within_s)))


def start(steps: Steps[T]) -> Steps[Task[T]]:
    """Starts steps beside these."""
    return cast("Task[T]", (yield Start(steps)))


def join(task: Task[T]) -> Steps[T]:
    """The result of steps that were started; raises their error."""
    return cast(T, (yield Join(task)))


def open_stream(server: int, request: InferenceRequest) -> Steps[Stream]:
    """Opens a stream of responses."""
    return cast(Stream, (yield Open(server, request)))


def next_response(stream: Stream) -> Steps[InferenceResponse | None]:
    """The next response, None at the end."""
    return cast("InferenceResponse | None", (yield Next(stream)))


def take(items: Items[T]) -> Steps[T | Literal[End.END]]:
    """The caller's next item, `END` behind the last."""
    return cast("T | Literal[End.END]", (yield Take(items)))


def give(value: Any) -> Steps[None]:
    """Hands a value to the caller, who iterates."""
    yield Give(value)


def handing_over(steps: Steps[T], receive: Callable[[Any], None]) -> Steps[T]:
    """Runs steps that give values, and hands these to a function instead of the caller."""
    answer: Any = None
    error: BaseException | None = None
    while True:
        try:
            effect = steps.send(answer) if error is None else steps.throw(error)
        except StopIteration as stop:
            return cast(T, stop.value)
        answer, error = None, None
        try:
            if isinstance(effect, Give):
                receive(effect.value)
            else:
                answer = yield effect
        except BaseException as raised:
            error = raised
