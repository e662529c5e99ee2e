"""The client of Organ-Seg: ask a server which organ an image shows, and where.

```python
from organseg_client import OrganSegClient

with OrganSegClient("localhost:8001") as client:
    result = client.segment("slice.png", "Which organ stores bile?")
```

Everything public is here: the client, its result, the transport it takes, and every error that
it raises. Imports numpy, Pillow and, with the first connection, tritonclient; never torch.
"""

from organseg.contract import Verdict
from organseg.errors import (
    AuthenticationError,
    ContractError,
    DeadlineExceededError,
    ImageError,
    InvalidInputError,
    OrganSegError,
    QuestionError,
    ServerBusyError,
    ServerError,
    ServerFaultError,
    ServerUnreachableError,
    WindowError,
)
from organseg_client.client import DEFAULT_URL, OrganSegClient
from organseg_client.deadline import DEFAULT_DEADLINE_S
from organseg_client.grpc_transport import GrpcTransport
from organseg_client.images import ImageInput, SentImage
from organseg_client.result import OrganAnswer, SegmentationResult
from organseg_client.transport import (
    InferenceRequest,
    InferenceResponse,
    ModelConfig,
    Transport,
)

__all__ = [
    "DEFAULT_DEADLINE_S",
    "DEFAULT_URL",
    "AuthenticationError",
    "ContractError",
    "DeadlineExceededError",
    "GrpcTransport",
    "ImageError",
    "ImageInput",
    "InferenceRequest",
    "InferenceResponse",
    "InvalidInputError",
    "ModelConfig",
    "OrganAnswer",
    "OrganSegClient",
    "OrganSegError",
    "QuestionError",
    "SegmentationResult",
    "SentImage",
    "ServerBusyError",
    "ServerError",
    "ServerFaultError",
    "ServerUnreachableError",
    "Transport",
    "Verdict",
    "WindowError",
]
