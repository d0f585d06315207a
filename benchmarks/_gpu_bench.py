"""What the sections of `gpu.py` are given: a checkpoint, a time, and texts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from _common import CHECKPOINT
from _data import DATA, cut_to_random_length, mixed_texts, movie_reviews, sst2_phrases

from sklearn_bert._process._errors import CheckpointError
from sklearn_bert.model._find import find_checkpoint

WORDS = "the a film plot was is very not good great bad awful i we it and of to in on"


@dataclass(frozen=True)
class Bench:
    """One section's checkpoint, time and size.

    Attributes
    ----------
    folder : str
        Of a BERT with random weights.
    peak : dict
        Operations per second of the device.
    quick : bool
        Whether it is enough to see that all runs.
    seconds : float
        The time of the section.
    """

    folder: str
    peak: dict
    quick: bool
    seconds: float

    def size(self, full: int, few: int = 48) -> int:
        """The number of texts, or few of them in a quick look."""
        return few if self.quick else full

    def short(self, n: int) -> tuple[list[str], np.ndarray]:
        """Phrases of 9 words on average, and two labels."""
        if (DATA / "sst2").exists():
            return sst2_phrases(n)
        return made_up(n, 1, 17), np.arange(n) % 2

    def long(self, n: int) -> tuple[list[str], np.ndarray]:
        """Reviews of 20 to 400 words, and two labels; of 2,000 several beginnings."""
        if not (DATA / "nltk_movie_reviews").exists():
            return made_up(n, 20, 400), np.arange(n) % 2
        reviews, labels = movie_reviews(n)
        places = np.arange(n) % len(reviews)
        texts = cut_to_random_length([reviews[place] for place in places], 20, 400)
        return texts, labels[places]

    def mixed(self, n: int) -> list[str]:
        """Texts of 1 to 250 words."""
        if (DATA / "banking77").exists() and (DATA / "nltk_movie_reviews").exists():
            return mixed_texts(n)
        return made_up(n, 1, 250)

    @property
    def trained(self) -> str:
        """A checkpoint that was trained, where it is there, and else the random one."""
        try:
            return str(find_checkpoint(CHECKPOINT, None))
        except CheckpointError:
            return self.folder


def made_up(n: int, fewest: int, most: int) -> list[str]:
    """Texts of random words, where there are no data."""
    rng = np.random.default_rng(0)
    words = np.array(WORDS.split())
    lengths = rng.integers(fewest, most, n, endpoint=True)
    return [
        f"{i} {' '.join(rng.choice(words, length))}" for i, length in enumerate(lengths)
    ]
