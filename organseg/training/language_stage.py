"""Stage 0 `language`: the language model learns what questions ask for, from text alone.

Cheap, and apart from any image: the questions, the glossary's terms, and the text encoder's
embedding of any sentence.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from organseg.data.questions.explanations import load_explanations
from organseg.networks.extractors import Extractors
from organseg.networks.text_encoder import encoder_folder
from organseg.networks.vision_language import VisionLanguage
from organseg.training.explaining import explained_answers, explanation_loss
from organseg.training.figures import VALIDATION_QUESTIONS, answer_figures, question_similarity
from organseg.training.frozen import freeze, thaw
from organseg.training.loop import Batch, Stage
from organseg.training.losses import answer_loss, distillation_loss
from organseg.training.options import LanguageOptions
from organseg.training.packing import ask_together
from organseg.training.sentences import QuestionBank, asked_answers

QUESTIONS_OF_A_ROW = 8
"""Questions that share one prefix in a pass without images: more of them, and attention between
what must not see each other costs more than the prefix saves."""


class LanguageStage(Stage):
    """The language model of a LLaVA, with the Information of Interest Extractor."""

    name = "language"

    def __init__(
        self,
        vision_language: VisionLanguage,
        extractors: Extractors,
        bank: QuestionBank,
        options: LanguageOptions,
        *,
        temperature: float,
    ) -> None:
        """Takes the model as it is; language model and F_t's head learn, nothing that sees."""
        super().__init__()
        freeze(vision_language, extractors)
        thaw(vision_language.language_model, extractors.information_of_interest)
        self.vision_language, self.extractors = vision_language, extractors
        self.teacher = EncoderTeacher(vision_language, extractors)
        self.options, self.temperature, self._bank = options, temperature, bank
        self._explanations = load_explanations()

    def draw(self, rng: np.random.Generator, batch: int) -> Batch:
        """Rows of questions and sentences, and answers that are explained."""
        del batch
        options = self.options
        texts = self._bank.draw(
            whole_rows(options.texts),
            rng,
            typos=options.typos,
            composed=options.composed,
            distilled=options.distilled,
        )
        questions = self._bank.draw_questions(options.explanations, rng)
        return {
            "explained": explained_answers(
                self.vision_language.prompts, questions, self._explanations, rng
            ),
            "texts": rows_of(texts.texts, QUESTIONS_OF_A_ROW),
            "asked": texts.asked,
            "vectors": texts.vectors,
        }

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """What is asked for, the text encoder's embedding, and the words of explanations."""
        states, _ = ask_together(
            self.vision_language, None, batch["texts"], word_dropout=self.options.word_dropout
        )
        labelled = batch["asked"].any(dim=-1)
        states = states.flatten(0, 1)
        similarity = question_similarity(self.extractors, states[labelled])
        answers = answer_loss(similarity, batch["asked"][labelled], self.temperature)
        losses = {
            "answer": self.options.answer_weight * answers,
            "distill": self.options.distill_weight * self.teacher(states, batch["vectors"]),
        }
        if batch["explained"] is not None:
            losses["explanation"] = self.options.explanation_weight * explanation_loss(
                self.vision_language, None, batch["explained"]
            )
        return losses

    def validate(self, device: torch.device) -> dict[str, float]:
        """Organ choice, N-acc and T-acc on questions held apart, asked without an image."""
        del device
        questions = self._bank.few(VALIDATION_QUESTIONS)
        rows = rows_of([question.text for question in questions], 16)
        states = [ask_together(self.vision_language, None, [row])[0][0] for row in rows]
        similarity = question_similarity(self.extractors, torch.cat(states)).float().cpu()
        figures = answer_figures(similarity, torch.stack([asked_answers(q) for q in questions]))
        return {"score": float(np.mean(list(figures.values()))), **figures}


class EncoderTeacher(nn.Module):
    """Reads the text encoder's embedding from an answer state; left behind after training."""

    def __init__(self, vision_language: VisionLanguage, extractors: Extractors) -> None:
        """Builds the one layer."""
        super().__init__()
        width = extractors.organ_prototypes.shape[1]
        self.read = nn.Linear(vision_language.size.width, width)

    def forward(self, states: Tensor, vectors: Tensor) -> Tensor:
        """The loss of states float [N, D] against unit vectors float [N, E], zeros unknown."""
        return distillation_loss(self.read(states), vectors)


@torch.no_grad()
def start_from_encoder(vision_language: VisionLanguage) -> None:
    """Token embeddings from the text encoder's, by their principal components.

    The stand-in's word pieces are the encoder's; tokens it lacks keep their random start.
    """
    from safetensors.torch import load_file

    table = load_file(str(encoder_folder() / "model.safetensors"))
    words = next(weight for name, weight in table.items() if "word_embeddings" in name).float()
    embeddings = vision_language.language_model.embed_tokens.weight
    width = min(embeddings.shape[1], words.shape[1])
    centred = words - words.mean(dim=0)
    _, _, axes = torch.linalg.svd(centred.T @ centred)
    reduced = functional.normalize(centred, dim=-1) @ axes[:width].T
    count = min(len(words), len(embeddings))
    spread = embeddings.std()
    embeddings[:count, :width] = (reduced * spread / reduced.std())[:count]


def rows_of(texts: Sequence[str], width: int) -> list[list[str]]:
    """The texts in rows of `width`; the last may be shorter."""
    return [list(texts[start : start + width]) for start in range(0, len(texts), width)]


def whole_rows(texts: int) -> int:
    """The number of texts in as many whole rows; at least one row."""
    return max(1, texts // QUESTIONS_OF_A_ROW) * QUESTIONS_OF_A_ROW
