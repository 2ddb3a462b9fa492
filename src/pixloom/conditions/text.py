"""A description in words: known words for the small learnt encoder, or the embedding of a sentence encoder that a person names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar, Self

import numpy as np

from pixloom.conditions.base import Condition
from pixloom.config import TEXT_LENGTH
from pixloom.data.sources import Record
from pixloom.errors import ConfigError, DataError, nearest, require

MOST_WORDS = 4096
"""The most frequent words of the training texts are known, so many at most."""

_WORD = re.compile(r"[一-鿿぀-ヿ]|[^\W一-鿿぀-ヿ]+")
"""A word; of Chinese and Japanese each character."""


@dataclass(frozen=True)
class Text(Condition):
    """A description per picture.

    Attributes:
        encoder: a sentence encoder of Hugging Face, by its name there or its folder, which turns a text into a vector and is not trained;
            None: a small encoder of our own is learnt with the networks and needs no download.
        words: what the learnt encoder knows, most frequent first; none: learnt from the examples.
        dimensions: of the named encoder's vectors; 0: asked of it.
    """

    encoder: str | None = None
    words: tuple[str, ...] = ()
    dimensions: int = 0

    name: ClassVar[str] = "text"
    summary: ClassVar[str] = "a description: the column text of an index file"
    offer: ClassVar[str] = 'give it with --text "WORDS"'

    @property
    def tensor(self) -> str:
        """Word numbers, or the vector of the named encoder."""
        return "text" if self.encoder is None else "embedding"

    @property
    def width(self) -> int:
        """Known words, or the dimensions of the vector."""
        return len(self.words) if self.encoder is None else self.dimensions

    @property
    def known(self) -> tuple[str, ...]:
        """The words, most frequent first."""
        return self.words

    def settled(self, records: Sequence[Record]) -> Self:
        """With the words of the examples' texts, or the size of the encoder's vectors."""
        texts = [record.text for record in records if record.text]
        if not texts:
            raise DataError("the examples have no texts", fix="add a column 'text' to the index file")
        if self.encoder is not None:
            return replace(self, dimensions=self.dimensions or len(_embedded(self.encoder, texts[0])))
        if self.words:
            return self
        counts = Counter(word for text in texts for word in words_of(text))
        if not counts:
            raise DataError("the texts of the examples hold no words", fix="look at the column 'text' of the index file")
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        return replace(self, words=tuple(ranked[:MOST_WORDS]))

    def of(self, record: Record) -> str | None:
        """The example's text; one without a known word states nothing."""
        words = words_of(record.text or "")
        known = words if self.encoder is not None or not self.words else set(words) & set(self.words)
        return record.text if known else None

    def encode(self, value: Any, *, size: tuple[int, int]) -> np.ndarray:
        """(32,) int64, word numbers from 1 on and 0 for none; or (dimensions,) float32."""
        if not isinstance(value, str) or not words_of(value):
            raise ConfigError(f"the text {value!r} holds no words", fix="describe the picture in words, or leave the text out")
        if self.encoder is not None:
            return _embedded(self.encoder, value)
        numbers = {word: number for number, word in enumerate(self.words, start=1)}
        words = words_of(value)
        known = [numbers[word] for word in words if word in numbers][:TEXT_LENGTH]
        if not known:
            raise ConfigError(
                f"no word of the text '{value}' is known", why="none stood in the training texts", fix=nearest(words[0], self.words)
            )
        encoded = np.zeros(TEXT_LENGTH, np.int64)
        encoded[: len(known)] = known
        return encoded

    def nothing(self, *, size: tuple[int, int]) -> np.ndarray:
        """Zeros."""
        return np.zeros(TEXT_LENGTH, np.int64) if self.encoder is None else np.zeros(self.dimensions, np.float32)


def words_of(text: str) -> list[str]:
    """The words of a text in small letters.

    >>> words_of("A red, RED flower; 红花")
    ['a', 'red', 'red', 'flower', '红', '花']
    """
    return _WORD.findall(text.casefold())


@lru_cache(maxsize=100_000)
def _embedded(encoder: str, text: str) -> np.ndarray:
    """The mean of a transformer's last states over the words of a text, of length 1 (Reimers and Gurevych, "Sentence-BERT", 2019)."""
    import torch

    tokenizer, model = _loaded(encoder)
    with torch.inference_mode():
        tokens = tokenizer(text, return_tensors="pt", truncation=True, max_length=128)
        states, mask = model(**tokens).last_hidden_state[0], tokens["attention_mask"][0][:, None]
        mean = (states * mask).sum(0) / mask.sum()
    vector: np.ndarray = torch.nn.functional.normalize(mean.float(), dim=0).numpy()
    return vector


@lru_cache(maxsize=1)
def _loaded(encoder: str) -> tuple[Any, Any]:
    transformers = require("transformers", extra="text", purpose="a named sentence encoder")
    try:
        return transformers.AutoTokenizer.from_pretrained(encoder), transformers.AutoModel.from_pretrained(encoder).eval()
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the sentence encoder '{encoder}' cannot be loaded",
            why=str(error).strip().splitlines()[0],
            fix="give its folder or its name on Hugging Face, or leave conditions.text.encoder out",
        ) from error
