"""Texts that say what each class is, for a head that has few labelled texts or none.

M.-W. Chang et al., "Importance of Semantic Representation: Dataless Classification",
AAAI 2008: a text and the name of its class are vectors of one space.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from sklearn_bert.text._columns import as_python, excerpt
from sklearn_bert.text._input import Texts, check_texts
from sklearn_bert.text._tokenizer import TextTokenizer

# What the cosine of a text and a description is multiplied with to become a logit: the
# log loss of seven labelled sets was lowest on average, with the default checkpoint.
SCALE = 12.0
BETWEEN_WORDS = re.compile(
    r"[\s_\-./:|]+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])"
)
# Vectors, targets and weights of texts that a head is fitted to.
HeadInputs = tuple[np.ndarray, np.ndarray, np.ndarray]
LETTERS = re.compile(r"[^\W\d_]+")
REMEDY = (
    "Pass a dict that has a text for each class, e.g. {'NUM': 'a number', 'LOC': 'a "
    "place'}."
)


@dataclass(frozen=True)
class Descriptions:
    """One text or several for each class.

    Attributes
    ----------
    texts : Texts
    codes : ndarray of shape (n_descriptions,)
        The class of each.
    weights : ndarray of shape (n_descriptions,)
        Those of a class add up to 1: it weighs as much as one labelled text.
    are_labels : bool
        Whether they are the labels themselves, which need not be words.
    """

    texts: Texts
    codes: np.ndarray
    weights: np.ndarray
    are_labels: bool = False

    @classmethod
    def of(cls, by_class: list[list[str]], *, are_labels: bool = False) -> Descriptions:
        """Note the class of each text."""
        counts = np.array([len(texts) for texts in by_class])
        return cls(
            check_texts([text for texts in by_class for text in texts]),
            np.repeat(np.arange(len(counts)), counts),
            np.repeat(1 / counts, counts),
            are_labels,
        )

    def can_be_read(self, tokenizer: TextTokenizer) -> bool:
        """Tell whether a model can know what the texts mean.

        Labels have to be words: at least half of theirs are one piece of the tokenizer
        each, of two letters or more. The caller's own texts are taken as they are.
        """
        if not self.are_labels:
            return True
        words = {word for text in self.texts.first for word in LETTERS.findall(text)}
        encode = tokenizer.for_words.encode
        pieces = [
            encode(word, add_special_tokens=False).ids
            for word in words
            if len(word) > 1
        ]
        n_known = sum(
            len(ids) == 1 and ids[0] != tokenizer.unknown_id for ids in pieces
        )
        return 2 * n_known >= len(words)

    def after(self, inputs: HeadInputs, vectors: np.ndarray) -> HeadInputs:
        """Add the descriptions to the texts that a head is fitted to.

        Each class gets one text more, in effect: the more labelled texts there are, the
        less do descriptions count.

        Parameters
        ----------
        inputs : tuple of ndarray
            Vectors, targets and weights of texts; targets are codes, or an indicator.
        vectors : ndarray of shape (n_descriptions, width)
        """
        texts, targets, weights = inputs
        codes, more = self.codes, self.weights
        if targets.ndim == 2:
            codes = np.eye(targets.shape[1], dtype=targets.dtype)[codes]
        if weights.ndim == 2:
            more = np.repeat(more[:, None], weights.shape[1], axis=1)
        return (
            np.concatenate([texts, vectors]),
            np.concatenate([targets, codes]),
            np.concatenate([weights, more]),
        )

    def head(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Make a head whose scores are the cosines of texts and classes, times `SCALE`.

        Parameters
        ----------
        vectors : ndarray of shape (n_descriptions, width)
            As the head gets them: of mean 0 and deviation 1, so that all have the
            length sqrt(width).

        Returns
        -------
        weight : ndarray of shape (n_classes, width)
        bias : ndarray of shape (n_classes,)
        """
        n_classes, width = self.codes[-1] + 1, vectors.shape[1]
        sums = np.zeros((n_classes, width))
        np.add.at(sums, self.codes, vectors * self.weights[:, None])
        # A pooler's vectors may be all 0.
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        directions = np.divide(sums, lengths, out=sums, where=lengths > 0)
        return SCALE / np.sqrt(width) * directions, np.zeros(n_classes)


def read_descriptions(
    class_descriptions: dict[Any, Any] | str | None, classes: np.ndarray
) -> Descriptions | None:
    """Read what the classes are, or None where nothing says it.

    Parameters
    ----------
    class_descriptions : dict, "auto" or None
        A text, or a list of texts, by class; "auto": the labels, where they are words.
    classes : ndarray of shape (n_classes,)

    Raises
    ------
    TypeError, ValueError
        Where a class has no description, a description has no class, or is no text.
    """
    if class_descriptions is None:
        return None
    if isinstance(class_descriptions, str):
        words = label_words(classes)
        if words is None:
            return None
        return Descriptions.of([[text] for text in words], are_labels=True)
    known = classes.tolist()
    for label in class_descriptions:
        if label not in known:
            raise ValueError(
                f"class_descriptions has a text for {as_python(label)!r}, which is not "
                f"among the {len(known)} classes ({excerpt(known)}); expected the "
                "classes as they stand in y."
            )
    for label in known:
        if label not in class_descriptions:
            raise ValueError(
                f"class_descriptions has no text for the class {label!r}; expected one "
                f"for each of the {len(known)} classes ({excerpt(known)})."
            )
    return Descriptions.of(
        [_read_texts(class_descriptions[label], label) for label in known]
    )


def _read_texts(given: Any, label: Any) -> list[str]:
    """Return the texts of one class, checked."""
    name = f"class_descriptions[{label!r}]"
    texts = list(given) if isinstance(given, (list, tuple)) else [given]
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(
                f"{name} is {excerpt(given)} of type {type(given).__name__}; expected "
                "a str that says what the class is, or a list of them."
            )
    if not all(text.strip() for text in texts) or not texts:
        raise ValueError(
            f"{name} is {excerpt(given)}, which is empty; expected a text that says "
            "what the class is."
        )
    return texts


def label_words(classes: np.ndarray) -> list[str] | None:
    """Write labels as words: "card_arrival" as "card arrival". None: they are not.

    They are str with letters; more than half have a word of two letters or more, and
    more than half differ in their letters: "LABEL_0" and "LABEL_1" do not.
    """
    labels = classes.tolist()
    if not all(isinstance(label, str) for label in labels):
        return None
    texts = [BETWEEN_WORDS.sub(" ", label).strip() for label in labels]
    words = [tuple(LETTERS.findall(text.lower())) for text in texts]
    n_words = sum(max(map(len, of_label), default=0) > 1 for of_label in words)
    if not all(words) or 2 * min(n_words, len(set(words))) <= len(words):
        return None
    return texts
