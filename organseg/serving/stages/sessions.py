"""The stage `sessions`: gives an image a handle, and gives back by it what a question needs."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from organseg.contract import ASK_NAME, ENCODE_NAME, ENSEMBLE_NAME, SESSIONS_NAME, names
from organseg.errors import ContractError, InvalidInputError, NotServedError
from organseg.questions import read_question
from organseg.serving.bounds import HANDLES_VARIABLE, KEPT_VARIABLE, LIFETIME_VARIABLE
from organseg.serving.carried_failures import FAILURES, raise_carried
from organseg.serving.request_checks import require_contract, require_shapes, session_lost
from organseg.serving.sessions import SessionCounts, SessionTable
from organseg.serving.stage import Arrays, RequestStage, StageContext, StageRequest

_KNOWN = (
    names.IMAGE_KEY,
    names.IMAGE_SIZE_HW,
    names.IMAGE_ORIENTATION,
    names.IMAGE_IS_BLANK,
)
"""What is known of an image: some bytes, by which the other stages find what they keep."""

_KEPT_BY = {names.FEATURES_KEPT: "image_features", names.PREFIX_KEPT: "llava_med"}
"""What says that a stage keeps the image, and which stage."""

_OPENING = frozenset((*_KNOWN, *_KEPT_BY, *FAILURES))
_ASKING = frozenset((names.HANDLE, names.QUERY))


class SessionsStage(RequestStage):
    """Knows the open sessions; a request opens one, or asks one."""

    name = SESSIONS_NAME

    def __init__(self, context: StageContext) -> None:
        """Starts with no session; raises `ContractError` where nothing says how many."""
        super().__init__(context)
        if context.sessions is None:
            raise ContractError(
                "wanted a config that says how many sessions are known, got one without: export "
                "the release again"
            )
        limits = context.sessions
        is_on = limits.handles > 0 and limits.lifetime_s > 0
        self._table = SessionTable[Arrays](limits) if is_on else None

    def kept(self) -> SessionCounts | None:
        """How sessions went; none where there are none."""
        return self._table.counts() if self._table else None

    def answer(self, request: StageRequest) -> Arrays:
        """A handle for an image that is kept, or, for a handle, what a question needs.

        Raises:
            SessionLostError: the handle is not known.
            QuestionError: the question cannot be used; then the session's lifetime goes on.
            NotServedError: this server keeps no images, or not this one.
            InvalidInputError: the request is neither of the two.
            ContractError: the request is of another contract version.
        """
        require_contract(request)
        require_shapes(self.model, request)
        came = request.inputs.keys()
        if came == _OPENING:
            return self._open(request.inputs)
        if came == _ASKING:
            return self._ask(request.inputs)
        raise _neither(came)

    def _open(self, inputs: Arrays) -> Arrays:
        raise_carried(inputs)
        if self._table is None:
            raise NotServedError(
                "wanted a session, this server was started without: ask "
                f"{ENSEMBLE_NAME} with the image each time, or have the server started with "
                f"{HANDLES_VARIABLE} and {LIFETIME_VARIABLE} above 0"
            )
        for name, stage in _KEPT_BY.items():
            if not inputs[name].item():
                raise NotServedError(
                    f"wanted to keep the image for questions, {stage} has no room for one: ask "
                    f"{ENSEMBLE_NAME} with the image each time, or have the server started with "
                    f"a higher {KEPT_VARIABLE}{stage.upper()}"
                )
        # The arrays that came lie in the request's memory, which is not ours for long.
        handle = self._table.open({name: inputs[name].copy() for name in _KNOWN})
        return {
            names.HANDLE: np.array([[handle]], dtype=np.object_),
            names.LIFETIME_S: np.array([[self._table.limits.lifetime_s]], dtype=np.float32),
        }

    def _ask(self, inputs: Arrays) -> Arrays:
        question = read_question(inputs[names.QUERY].item())
        known = self._table.ask(inputs[names.HANDLE].item()) if self._table else None
        if known is None:
            raise session_lost()
        return {**known, names.QUESTION: np.array([[question.encode()]], dtype=np.object_)}


def _neither(came: Collection[str]) -> InvalidInputError:
    return InvalidInputError(
        f"wanted {_listed(_ASKING)} to ask, or {_listed(_OPENING)} to open a session, got "
        f"{_listed(came)}: call {ASK_NAME} or {ENCODE_NAME}, which send what belongs together"
    )


def _listed(wanted: Collection[str]) -> str:
    return ", ".join(sorted(wanted)) or "nothing"
