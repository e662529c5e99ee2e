"""The stage `sessions`: not here yet."""

from __future__ import annotations

from organseg.errors import NotServedError
from organseg.serving.stage import Arrays, RequestStage, StageRequest


class SessionsStage(RequestStage):
    """Knows no session."""

    name = "sessions"

    def answer(self, request: StageRequest) -> Arrays:
        """Refuses every request."""
        raise NotServedError("wanted a session, this server keeps none: ask organ_seg")
