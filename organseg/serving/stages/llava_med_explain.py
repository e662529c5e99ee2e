"""`llava_med_explain`: writes an answer out in words, conditioned on what the flow answered.

LLaVA-Med without its adapter, beside the flow. torch is imported with the weights: where they are
read on the first request, a server that nobody asks for explanations holds neither.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError, safe_open

from organseg.contract import (
    DEFAULT_TOKENS,
    EXPLAIN_NAME,
    MOST_TOKENS,
    Finish,
    Loading,
    Verdict,
    names,
)
from organseg.errors import InvalidInputError, OrganSegError, ServerFaultError
from organseg.imaging.preprocess import prepare
from organseg.networks.answer_text import Finding, answer_closing, answer_opening
from organseg.organs import NONE, organ_by_id
from organseg.serving.request_checks import require_contract, require_shapes
from organseg.serving.stage import Arrays, StageContext, StageRequest, StreamStage

if TYPE_CHECKING:
    from organseg.networks.explanation import Explainer

BASE_WEIGHTS_FILE = "base_weights.safetensors"
"""In the version folder: what the adapter's merge changed, as it was before."""

TALKS = "talks"
"""In that file's metadata, as JSON: whether the base weights write sentences."""


class LlavaMedExplainStage(StreamStage):
    """The answer in the paper's format, piece by piece."""

    name = EXPLAIN_NAME

    def __init__(self, context: StageContext) -> None:
        """Reads the weights now, or leaves them for the first request, as the config says."""
        super().__init__(context)
        self._talks = _talk(context.folder / BASE_WEIGHTS_FILE)
        if self._talks and context.loading is Loading.AT_START:
            _ = self._explainer

    def stream(self, request: StageRequest, is_cancelled: Callable[[], bool]) -> Iterator[Arrays]:
        """Letter line, explanation, segmentation line; looks at every token whether to go on.

        Of weights that were never taught to talk, the explanation is its first sentence alone.

        Raises:
            InvalidInputError: image, question, window, verdicts or limit cannot be used.
            ContractError: the request is of another contract version.
        """
        require_contract(request)
        require_shapes(self.model, request)
        findings, limit = read_findings(request.inputs), _read_limit(request.inputs)
        window = request.inputs.get(names.WINDOW)
        prepared = prepare(
            request.inputs[names.IMAGE].item(),
            request.inputs[names.QUERY].item(),
            None if window is None else (float(window[0, 0]), float(window[0, 1])),
            self.context.preset,
        )
        if not self._talks:
            yield _piece(answer_opening(findings), None)
            yield _piece(f"\n{answer_closing(findings)}", Finish.COMPLETE)
            return
        pieces = self._ready().explain(
            prepared.vlm_pixels, prepared.question, findings, limit=limit
        )
        for text, finish in pieces:
            if is_cancelled():
                return
            if text:
                yield _piece(text, finish)

    def _ready(self) -> Explainer:
        try:
            return self._explainer
        except OrganSegError as error:
            # Written for whoever starts a server; this one goes to somebody's client.
            raise ServerFaultError(
                "wanted the weights that explanations are written with, they could not be loaded "
                f"({type(error).__name__}): tell whoever runs the server to check its release with "
                "`organseg verify`"
            ) from error

    @cached_property
    def _explainer(self) -> Explainer:
        from organseg.networks.checkpoint import VISION_LANGUAGE_FOLDER
        from organseg.networks.explanation import Explainer
        from organseg.serving.language_model import load_language_model

        own = self.context.folder
        # The merged model is the flow's; only what merging changed is kept twice.
        merged = own.parent.parent / "llava_med" / own.name / VISION_LANGUAGE_FOLDER
        return Explainer(
            *load_language_model(self.context, merged, base_weights=own / BASE_WEIGHTS_FILE)
        )


def read_findings(inputs: Arrays) -> tuple[Finding, ...]:
    """What the flow answered, from the tensors that it answered with.

    Raises `InvalidInputError` where they are no answer: lengths that differ, an organ or verdict
    that there is not, an organ twice, a box that is not finite, "none" beside an organ.
    """
    organs, verdicts, boxes = (
        inputs[name][0] for name in (names.ANSWER_ORGANS, names.ANSWER_VERDICTS, names.ANSWER_BOXES)
    )
    try:
        findings = tuple(
            Finding(
                organ_by_id(organ),
                Verdict(verdict.decode()),
                (float(box[0]), float(box[1]), float(box[2]), float(box[3])),
            )
            for organ, verdict, box in zip(organs, verdicts, boxes, strict=True)
        )
    except (KeyError, ValueError):
        raise _no_answer(
            "an organ or a verdict that there is not, or lengths that differ"
        ) from None
    if len({finding.organ.id for finding in findings}) < len(findings):
        raise _no_answer("an organ twice")
    if any((_is_none(each) and len(findings) > 1) or _disagrees(each) for each in findings):
        raise _no_answer(
            "an organ whose verdict says that none was asked for, or none with another"
        )
    if not np.isfinite(boxes).all():
        raise _no_answer("a box that is not finite")
    return findings


def _talk(path: Path) -> bool:
    """Whether the base weights write sentences; a file that does not say so is of some that do."""
    # The header alone: no weight is read, and torch is not imported.
    try:
        with safe_open(path, framework="numpy") as weights:
            said = (weights.metadata() or {}).get(TALKS, "true")
    except (OSError, SafetensorError):
        # Told with its remedy where the weights are loaded.
        return True
    return bool(json.loads(said))


def _is_none(finding: Finding) -> bool:
    return finding.organ is NONE


def _disagrees(finding: Finding) -> bool:
    return _is_none(finding) != (finding.verdict is Verdict.OUT_OF_SCOPE)


def _no_answer(came: str) -> InvalidInputError:
    return InvalidInputError(
        f"wanted {names.ANSWER_ORGANS}, {names.ANSWER_VERDICTS} and {names.ANSWER_BOXES} as the "
        f"ensemble answered them, got {came}: send them as they came"
    )


def _read_limit(inputs: Arrays) -> int:
    if names.MAX_TOKENS not in inputs:
        return DEFAULT_TOKENS
    limit = int(inputs[names.MAX_TOKENS].item())
    if not 1 <= limit <= MOST_TOKENS:
        raise InvalidInputError(
            f"wanted {names.MAX_TOKENS} of 1 to {MOST_TOKENS}, got {limit}: ask for fewer words"
        )
    return limit


def _piece(text: str, finish: Finish | None) -> Arrays:
    said = finish.value if finish else ""
    return {
        names.TEXT: np.array([[text.encode()]], dtype=np.object_),
        names.FINISH: np.array([[said.encode()]], dtype=np.object_),
    }
