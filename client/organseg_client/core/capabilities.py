"""The verb `capabilities`: what a server can be asked, and what it is."""

from __future__ import annotations

from collections.abc import Mapping

import organseg
from organseg.contract import CONTRACT_VERSION, ENCODE_NAME, ENSEMBLE_NAME, EXPLAIN_NAME, Fact
from organseg.organs import ORGANS
from organseg_client.capabilities import Capabilities, OrganCapability, ReleaseFacts
from organseg_client.core.attempts import Attempt, with_retries
from organseg_client.core.effects import Steps, ask_config, ask_metadata, ask_ready
from organseg_client.core.session import Session

__all__ = ["capabilities"]

_UNSAID = "not stated by the server"


def capabilities(session: Session, deadline_s: float | None) -> Steps[Capabilities]:
    """What one server says; the client's servers are meant to serve the same release."""
    deadline = session.deadline(deadline_s)

    def ask(attempt: Attempt) -> Steps[Capabilities]:
        index = attempt.server.index
        metadata = yield from ask_metadata(index, deadline.remaining_s())
        config = yield from ask_config(index, ENSEMBLE_NAME, deadline.remaining_s())
        can_explain = yield from ask_ready(index, EXPLAIN_NAME, deadline.remaining_s())
        keeps_images = yield from ask_ready(index, ENCODE_NAME, deadline.remaining_s())
        said = config.parameters
        return Capabilities(
            organs=tuple(
                OrganCapability(
                    id=organ.id,
                    letter=organ.letter,
                    name=organ.name,
                    synonyms=organ.synonyms,
                    colour_rgb=organ.color_rgb,
                )
                for organ in ORGANS
            ),
            # The attempt found it to be the client's own.
            contract_version=CONTRACT_VERSION,
            client_version=organseg.__version__,
            server_version=metadata.version,
            preset=said.get(Fact.PRESET.parameter, _UNSAID),
            release=_release(said),
            licence=said.get(Fact.LICENCE.parameter, _UNSAID),
            intended_use=said.get(Fact.INTENDED_USE.parameter, _UNSAID),
            can_explain=can_explain,
            keeps_images=keeps_images,
        )

    return (yield from with_retries(session, deadline, ask))


def _release(said: Mapping[str, str]) -> ReleaseFacts:
    trained = said.get(Fact.TRAINED.parameter)
    return ReleaseFacts(
        made=said.get(Fact.MADE.parameter),
        trained=None if trained is None else trained == "true",
        source=said.get(Fact.SOURCE.parameter),
    )
