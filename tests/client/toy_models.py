"""Small models for the real Triton: one that echoes, one that streams, one that dies."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from organseg_client import InferenceRequest

ECHO, TALK, MORTAL = "echo", "talk", "mortal"
ORGAN_WORDS = ("the", "organ", "that", "stores", "bile")

_COMMON = """name: "{name}"
backend: "python"
max_batch_size: 0
instance_group {{ count: 2 kind: KIND_CPU }}
parameters {{ key: "folder" value: {{ string_value: "{folder}" }} }}
"""

_CONFIGS = {
    ECHO: """
input { name: "FILE" data_type: TYPE_STRING dims: [ 1, 1 ] }
input { name: "SHAPE" data_type: TYPE_INT32 dims: 3 }
input { name: "WAITS" data_type: TYPE_BOOL dims: 1 }
output { name: "MASKS" data_type: TYPE_BOOL dims: [ -1, -1, -1 ] }
output { name: "LENGTH" data_type: TYPE_INT32 dims: 1 }
output { name: "WORDS" data_type: TYPE_STRING dims: -1 }
""",
    TALK: """
model_transaction_policy { decoupled: true }
input { name: "COUNT" data_type: TYPE_INT32 dims: 1 }
input { name: "REFUSAL" data_type: TYPE_STRING dims: 1 }
output { name: "WORD" data_type: TYPE_STRING dims: 1 }
""",
    MORTAL: """
input { name: "COUNT" data_type: TYPE_INT32 dims: 1 }
output { name: "COUNT_OUT" data_type: TYPE_INT32 dims: 1 }
""",
}

_HEAD = '''
import json
import os
import time
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb


class TritonPythonModel:
    def initialize(self, args):
        parameters = json.loads(args["model_config"])["parameters"]
        self.folder = Path(parameters["folder"]["string_value"])

    def wait_for(self, name):
        """Until a test lets the model go on, or long after it should have."""
        give_up = time.monotonic() + 30
        while not (self.folder / name).exists() and time.monotonic() < give_up:
            time.sleep(0.01)
'''

_BODIES = {
    ECHO: """
    def execute(self, requests):
        responses = []
        for request in requests:
            file, shape, waits = (
                pb.get_input_tensor_by_name(request, name).as_numpy()
                for name in ("FILE", "SHAPE", "WAITS")
            )
            (self.folder / "echoing").touch()
            if waits[0]:
                self.wait_for("go on")
            masks = np.zeros(shape, dtype=bool)
            # A pattern that tells one file from another.
            masks.reshape(-1)[:: len(file[0, 0]) % 7 + 2] = True
            words = np.array([file[0, 0][:4], b""], dtype=object)
            length = np.array([len(file[0, 0])], dtype=np.int32)
            responses.append(
                pb.InferenceResponse(
                    [
                        pb.Tensor("MASKS", masks),
                        pb.Tensor("LENGTH", length),
                        pb.Tensor("WORDS", words),
                    ]
                )
            )
        return responses
""",
    TALK: """
    def execute(self, requests):
        for request in requests:
            count = int(pb.get_input_tensor_by_name(request, "COUNT").as_numpy()[0])
            refusal = pb.get_input_tensor_by_name(request, "REFUSAL").as_numpy()[0].decode()
            sender = request.get_response_sender()
            words = ("the", "organ", "that", "stores", "bile")
            for index in range(count):
                if request.is_cancelled():
                    (self.folder / "cancelled").touch()
                    break
                word = np.array([words[index % len(words)].encode()], dtype=object)
                sender.send(pb.InferenceResponse([pb.Tensor("WORD", word)]))
                if index >= len(words):
                    time.sleep(0.01)
            if refusal:
                error = pb.TritonError(refusal, pb.TritonError.INVALID_ARG)
                sender.send(pb.InferenceResponse(error=error))
            sender.send(flags=pb.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
""",
    MORTAL: """
    def execute(self, requests):
        os._exit(1)
""",
}


def write_toy_models(repository: Path, folder: Path, *names: str) -> Path:
    """A model repository with these models; what they touch and wait for lies in `folder`."""
    folder.mkdir(exist_ok=True)
    for name in names:
        version = repository / name / "1"
        version.mkdir(parents=True)
        common = _COMMON.format(name=name, folder=folder)
        (repository / name / "config.pbtxt").write_text(common + _CONFIGS[name])
        (version / "model.py").write_text(_HEAD + _BODIES[name])
    return repository


def echo_request(
    length: int = 10,
    shape: tuple[int, int, int] = (1, 4, 4),
    *,
    waits: bool = False,
    knows_size: bool = True,
    deadline_s: float = 20.0,
) -> InferenceRequest:
    """A request to `ECHO`: it answers with masks of that shape, and the file's length."""
    return InferenceRequest(
        model_name=ECHO,
        inputs={
            "FILE": np.array([[b"file" + bytes(length - 4)]], dtype=object),
            "SHAPE": np.array(shape, dtype=np.int32),
            "WAITS": np.array([waits]),
        },
        outputs=("MASKS", "LENGTH", "WORDS"),
        parameters={"organseg_test": "yes"},
        request_id=f"echo {length}",
        deadline_s=deadline_s,
        output_bytes={"MASKS": 13 * shape[1] * shape[2]} if knows_size else {},
    )


def expected_masks(length: int, shape: tuple[int, int, int]) -> np.ndarray:
    """What `ECHO` answers to a file of that length."""
    masks = np.zeros(shape, dtype=bool)
    masks.reshape(-1)[:: length % 7 + 2] = True
    return masks


def talk_request(
    count: int, refusal: str = "", *, model_name: str = TALK, deadline_s: float = 20.0
) -> InferenceRequest:
    """A request to `TALK`: so many words, all but the first few slowly; then a refusal, if any."""
    return InferenceRequest(
        model_name=model_name,
        inputs={
            "COUNT": np.array([count], dtype=np.int32),
            "REFUSAL": np.array([refusal.encode()], dtype=object),
        },
        outputs=("WORD",),
        parameters={},
        request_id="talk",
        deadline_s=deadline_s,
    )


def until(is_so: Callable[[], bool]) -> None:
    """Returns once it is so; fails where it never is."""
    give_up = time.monotonic() + 20
    pause = threading.Event()
    while not is_so():
        assert time.monotonic() < give_up
        pause.wait(0.01)
