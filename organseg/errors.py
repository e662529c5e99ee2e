"""The error tree of Organ-Seg: every error that this project raises for a user to read.

OrganSegError
├── InvalidInputError          what was sent cannot be used; the same request fails again
│   ├── ImageError             the image: type, size, encoding, geometry
│   ├── QuestionError          the question: empty, too long, not UTF-8
│   └── WindowError            the intensity window
├── NothingSegmentedError      a file of segments was wanted of an answer that has none
├── ContractError              two sides speak different versions of the tensor contract
├── CheckpointError            weights, adapter or context cache that do not fit
├── SourceError            weights that could not be had: licence not agreed to, hub out of reach
├── ReleaseError               a release folder is missing a part, or a part was changed
├── EngineError                an engine that TensorRT refuses, or that this machine has not
├── DatasetError               a dataset folder is not laid out as its loader expects
├── TrainingOptionError        an option of training makes no sense
├── TrainingDivergedError      the loss of a training run is no longer a number
├── ServerError                a Triton server answered, but not with a result
│   ├── ServerStartError       the embedded server could not be started
│   ├── NotServedError         its release leaves out what was asked for
│   ├── SessionLostError       a session is not known there any more: send the image again
│   ├── ServerBusyError        queue full, queue timeout, shutting down: worth a retry
│   └── ServerFaultError       the server failed inside; its own words are in the message
│       └── StageDeadError     a stage's process has died: worth a retry on another server
├── ServerUnreachableError     no connection: wrong address, server down, TLS mismatch
├── AuthenticationError        the server refused the credentials; never retried
└── DeadlineExceededError      no answer within the deadline

Every message says what was wanted, what came, and what to do about it, in that order. None that
leaves a server carries pixels, question text, paths or patient data; commands that run on the
user's own files name them.
"""

from __future__ import annotations

__all__ = [
    "AuthenticationError",
    "CheckpointError",
    "ContractError",
    "DatasetError",
    "DeadlineExceededError",
    "EngineError",
    "ImageError",
    "InvalidInputError",
    "NotServedError",
    "NothingSegmentedError",
    "OrganSegError",
    "QuestionError",
    "ReleaseError",
    "ServerBusyError",
    "ServerError",
    "ServerFaultError",
    "ServerStartError",
    "ServerUnreachableError",
    "SessionLostError",
    "SourceError",
    "StageDeadError",
    "TrainingDivergedError",
    "TrainingOptionError",
    "WindowError",
]


class OrganSegError(Exception):
    """The root: `except OrganSegError` catches all that this project raises on purpose."""


class InvalidInputError(OrganSegError, ValueError):
    """What was sent cannot be used; the server answers INVALID_ARGUMENT."""


class ImageError(InvalidInputError):
    """The image cannot be used: its type, size, encoding or geometry."""


class QuestionError(InvalidInputError):
    """The question cannot be used: empty, too long, or not UTF-8."""


class WindowError(InvalidInputError):
    """The intensity window cannot be used: not two finite numbers in rising order."""


class NothingSegmentedError(OrganSegError):
    """A file of segments was wanted of an answer in which no organ was segmented."""


class ContractError(OrganSegError):
    """Client, configuration and graph do not speak the same version of the contract."""


class CheckpointError(OrganSegError):
    """Weights, an adapter or a context cache do not fit the preset or each other."""


class SourceError(OrganSegError):
    """Weights could not be had: a licence was not agreed to, or the hub does not give them."""


class ReleaseError(OrganSegError):
    """A release folder is missing a part, or a part differs from its manifest."""


class EngineError(OrganSegError):
    """TensorRT refuses a graph, or an engine is not this machine's: not installed, or built for
    another TensorRT, GPU or CPU.
    """


class DatasetError(OrganSegError):
    """A dataset folder is not laid out as its loader expects."""


class TrainingOptionError(OrganSegError, ValueError):
    """An option of training makes no sense."""


class TrainingDivergedError(OrganSegError, ArithmeticError):
    """The loss of a training run is no longer a number."""


class ServerError(OrganSegError):
    """A Triton server answered, but not with a result."""


class ServerStartError(ServerError):
    """The embedded server could not be started; the message names the remedy."""


class NotServedError(ServerError):
    """The server's release leaves out what was asked for; another release may have it."""


class SessionLostError(ServerError):
    """The server does not know a session, or not all of it: expired, evicted, or restarted."""


class ServerBusyError(ServerError):
    """The server turned the request away for now: queue full, timed out, or shutting down."""


class ServerFaultError(ServerError):
    """The server failed inside while it worked on the request."""


class StageDeadError(ServerFaultError):
    """The process of one of the server's stages has died, though it may report ready."""


class ServerUnreachableError(OrganSegError):
    """No connection to the server."""


class AuthenticationError(OrganSegError):
    """The server refused the credentials."""


class DeadlineExceededError(OrganSegError):
    """No answer within the deadline."""
