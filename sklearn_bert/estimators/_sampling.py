"""`Sampling`: draws the next token of each text from its scores."""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

from sklearn_bert.text._tokenizer import TextTokenizer


class Sampling:
    """Draws a token for each of some texts; every text has random numbers of its own.

    Parameters
    ----------
    tokenizer : TextTokenizer
        Its special tokens are not written, except the one that ends a text.
    temperature : float
        0: always the likeliest.
    top_k : int or None
    top_p : float or None
    seed : int
    n_texts : int
    """

    def __init__(
        self,
        tokenizer: TextTokenizer,
        *,
        temperature: float,
        top_k: int | None,
        top_p: float | None,
        seed: int,
        n_texts: int,
    ) -> None:
        self.temperature = temperature
        self.top_k = top_k
        self.top_p = top_p
        # A model may score ids that its vocabulary lacks: tables are padded to a round
        # number of rows. Those could not be decoded.
        self.ends = set(tokenizer.special_tokens().after.tolist())
        known = set(tokenizer.known_ids().tolist())
        unwanted = set(tokenizer.special_ids().tolist()) - self.ends
        self._allowed = np.array(sorted(known - unwanted))
        # A generator for each text, so that the others in a call do not change it.
        seeds = np.random.SeedSequence(seed).spawn(n_texts)
        self._rngs = [np.random.default_rng(child) for child in seeds]

    def __call__(self, scores: np.ndarray, texts: list[int]) -> list[int]:
        """Draw a token for each of some texts.

        Parameters
        ----------
        scores : ndarray of shape (len(texts), n_words)
        texts : list of int
            Which texts these are.
        """
        # In float64, for `top_p`: a running sum over a vocabulary is rough in float32.
        scores = scores[:, self._allowed].astype(np.float64)
        if self.temperature == 0:
            return self._allowed[scores.argmax(1)].tolist()
        scores -= scores.max(axis=1, keepdims=True)  # however low the temperature
        with np.errstate(over="ignore"):
            shares = softmax(scores / self.temperature, axis=1)
        return [
            int(self._allowed[self._draw(row, self._rngs[text])])
            for row, text in zip(shares, texts, strict=True)
        ]

    def _draw(self, shares: np.ndarray, rng: np.random.Generator) -> int:
        """Draw an index among the likeliest, by its probability."""
        # Stable, so that every machine takes the same of equally likely tokens.
        order = np.argsort(-shares, kind="stable")[: self.top_k]
        if self.top_p is not None:
            # Not renormalised after `top_k`: `top_p` is a share of all tokens.
            total = np.cumsum(shares[order])
            # as many as it takes to reach the probability, and at least one
            order = order[: int(np.searchsorted(total, self.top_p)) + 1]
        kept = shares[order]
        return int(rng.choice(order, p=kept / kept.sum()))
