"""The client of Organ-Seg: ask a server which organ an image shows, and where.

```python
from organseg_client import OrganSegClient

with OrganSegClient("localhost:8001") as client:
    result = client.segment("slice.png", "Which organ stores bile?")
```

Everything public is here: both clients, their options, what they give, the transports they take,
and every error that they raise. Imports numpy, Pillow and, with the first connection,
tritonclient; never torch.
"""

from organseg.contract import Finish, Verdict
from organseg.errors import (
    AuthenticationError,
    ContractError,
    DeadlineExceededError,
    ImageError,
    InvalidInputError,
    NothingSegmentedError,
    NotServedError,
    OrganSegError,
    QuestionError,
    ServerBusyError,
    ServerError,
    ServerFaultError,
    ServerUnreachableError,
    SessionLostError,
    StageDeadError,
    WindowError,
)
from organseg.imaging.scan import Scan, open_scan
from organseg_client.async_client import AsyncOrganSegClient
from organseg_client.capabilities import Capabilities, OrganCapability, ReleaseFacts
from organseg_client.client import OrganSegClient
from organseg_client.core.addresses import DEFAULT_URL
from organseg_client.deadline import DEFAULT_DEADLINE_S
from organseg_client.explanation import AsyncExplanation, Explanation
from organseg_client.health import Health, HealthState, ServerHealth
from organseg_client.images import ImageInput, SentImage
from organseg_client.open_image import AsyncOpenImage, ImageSent, OpenImage
from organseg_client.options import ApiKey, ConnectionOptions, RetryPolicy, SharedMemory, Tls
from organseg_client.outcome import Outcome, SegmentRequest
from organseg_client.result import OrganAnswer, SegmentationResult, Timings
from organseg_client.statistics import ServerStatistics, Statistics
from organseg_client.transport import (
    AsyncResponseStream,
    AsyncTransport,
    InferenceRequest,
    InferenceResponse,
    ModelConfig,
    ModelStatistics,
    ResponseStream,
    ServerMetadata,
    Transport,
)
from organseg_client.transports import AsyncGrpcTransport, GrpcTransport
from organseg_client.volume.plan import FailurePolicy, VolumeProgress
from organseg_client.volume.result import (
    OrganInVolume,
    SliceAnswer,
    SliceFailure,
    SliceOrgan,
    VolumeResult,
)

__all__ = [
    "DEFAULT_DEADLINE_S",
    "DEFAULT_URL",
    "ApiKey",
    "AsyncExplanation",
    "AsyncGrpcTransport",
    "AsyncOpenImage",
    "AsyncOrganSegClient",
    "AsyncResponseStream",
    "AsyncTransport",
    "AuthenticationError",
    "Capabilities",
    "ConnectionOptions",
    "ContractError",
    "DeadlineExceededError",
    "Explanation",
    "FailurePolicy",
    "Finish",
    "GrpcTransport",
    "Health",
    "HealthState",
    "ImageError",
    "ImageInput",
    "ImageSent",
    "InferenceRequest",
    "InferenceResponse",
    "InvalidInputError",
    "ModelConfig",
    "ModelStatistics",
    "NotServedError",
    "NothingSegmentedError",
    "OpenImage",
    "OrganAnswer",
    "OrganCapability",
    "OrganInVolume",
    "OrganSegClient",
    "OrganSegError",
    "Outcome",
    "QuestionError",
    "ReleaseFacts",
    "ResponseStream",
    "RetryPolicy",
    "Scan",
    "SegmentRequest",
    "SegmentationResult",
    "SentImage",
    "ServerBusyError",
    "ServerError",
    "ServerFaultError",
    "ServerHealth",
    "ServerMetadata",
    "ServerStatistics",
    "ServerUnreachableError",
    "SessionLostError",
    "SharedMemory",
    "SliceAnswer",
    "SliceFailure",
    "SliceOrgan",
    "StageDeadError",
    "Statistics",
    "Timings",
    "Tls",
    "Transport",
    "Verdict",
    "VolumeProgress",
    "VolumeResult",
    "WindowError",
    "open_scan",
]
