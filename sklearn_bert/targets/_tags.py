"""Tags of words in `y`: checked, coded, and compared by the entities they mark."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_consistent_length

from sklearn_bert._process._sklearn import check_sample_weight
from sklearn_bert._process._warn import warn
from sklearn_bert.targets._entities import entity_f1
from sklearn_bert.targets._labels import check_no_nul, read_column, remedy
from sklearn_bert.text._columns import as_python, excerpt, is_missing, rows_of_column

OUTSIDE = "O"
IGNORED = -100  # by the losses of torch and transformers
# Besides BIO these are BIOES and BILOU.
PREFIXES = ("B-", "I-", "E-", "S-", "L-", "U-")


@dataclass(frozen=True)
class TagSet:
    """The tags that a tagger can predict.

    Attributes
    ----------
    classes : ndarray of shape (n_tags,)
        Sorted.
    """

    classes: np.ndarray

    @classmethod
    def of(cls, tags: list[list[Any]], name: str = "y") -> Self:
        """Collect the tags of some sentences.

        Raises
        ------
        ValueError
            Where there is one only, or some have prefixes and others have none.
        """
        classes = np.unique(_flat(tags))
        if len(classes) < 2:
            raise ValueError(
                f"{name} holds {len(classes)} tags ({excerpt(classes.tolist())}); "
                "expected at least 2."
            )
        names = [tag for tag in classes.tolist() if tag != OUTSIDE]
        with_prefix = [tag for tag in names if _has_prefix(tag)]
        if 0 < len(with_prefix) < len(names):
            other = next(tag for tag in names if not _has_prefix(tag))
            raise ValueError(
                f"{name} mixes tags with and without prefix, as {with_prefix[0]!r} and "
                f"{other!r}; expected all in BIO (B-, I-, O), or all flat."
            )
        return cls(classes)

    @property
    def has_prefixes(self) -> bool:
        """Tell whether the tags say where an entity begins."""
        return any(_has_prefix(tag) for tag in self.classes.tolist())

    @property
    def marks_entities(self) -> bool:
        """Tell whether some words may be outside of all entities."""
        return OUTSIDE in self.classes.tolist()

    def encode(self, tags: list[list[Any]], n_train: int) -> np.ndarray:
        """Encode every word's tag, (n_words,), int64; all must be known."""
        # The tags of X_val stand behind those of X; an error names them as y_val.
        codes = {tag: code for code, tag in enumerate(self.classes.tolist())}
        for i, sentence in enumerate(tags):
            for j, tag in enumerate(sentence):
                if tag not in codes:
                    name, row = ("y", i) if i < n_train else ("y_val", i - n_train)
                    raise ValueError(
                        f"{name}[{row}][{j}] is {tag!r}, which is not among the "
                        f"{len(codes)} tags ({excerpt(list(codes))}). "
                        f"{remedy(name, 'in the first call of partial_fit')}"
                    )
        return np.array([codes[t] for s in tags for t in s], dtype=np.int64)

    def score(
        self, true: np.ndarray, predicted: np.ndarray, counts: np.ndarray
    ) -> float:
        """Compare codes of tags, (n_words,); `counts` are the words per sentence."""
        ends = np.cumsum(counts)[:-1]
        return self.compare(
            [part.tolist() for part in np.split(self.classes[true], ends)],
            [part.tolist() for part in np.split(self.classes[predicted], ends)],
        )

    def compare(
        self,
        true: list[list[Any]],
        predicted: list[list[Any]],
        sample_weight: Any = None,
    ) -> float:
        """Compute entity F1 where tags mark entities, else the share of right tags."""
        if not any(true):
            raise ValueError(
                f"none of the {len(true)} sentences has a word; there is nothing to "
                "score."
            )
        if self.has_prefixes or self.marks_entities:
            if sample_weight is not None:
                raise ValueError(
                    "sample_weight is given, but the F1 of entities takes no weights; "
                    "expected None."
                )
            if not self.has_prefixes:
                true = [_with_prefixes(tags) for tags in true]
                predicted = [_with_prefixes(tags) for tags in predicted]
            return entity_f1(true, predicted)
        pairs = zip(_flat(true), _flat(predicted), strict=True)
        is_right = np.array([one == other for one, other in pairs])
        # A sentence weighs for each of its words.
        of_word = np.repeat(np.arange(len(true)), [len(tags) for tags in true])
        weights = check_sample_weight(
            sample_weight, np.empty(len(true)), ensure_non_negative=True
        )[of_word]
        return float(np.average(is_right, weights=weights))


def read_tags(
    y: Any, sentences: list[list[str]], name: str = "y", *, warns: bool = True
) -> list[list[Any]]:
    """Return the tags in `y` as lists, one per word, or say what is wrong where.

    Raises
    ------
    TypeError, ValueError
        Where tags are missing, of mixed kinds, or not as many as words.

    Warns
    -----
    UserWarning
        Where an entity begins with `I-`.
    """
    if y is None:
        raise ValueError(
            "BertTokenClassifier requires y to be passed, but the target y is None."
        )
    check_consistent_length(sentences, y)
    rows = rows_of_column(y, name)
    tags = [
        _check_row(row, sentence, f"{name}[{i}]")
        for i, (row, sentence) in enumerate(zip(rows, sentences, strict=True))
    ]
    # Sorting needs one kind, and NumPy would turn numbers beside strings into strings.
    kinds = {type(tag).__name__ for row in tags for tag in row}
    if len(kinds) > 1:
        raise TypeError(
            f"{name} mixes tags of the types {sorted(kinds)}; expected one kind."
        )
    if warns:
        _report_orphans(tags, name)
    return tags


def read_tag_set(classes: Any) -> TagSet:
    """Read all tags that there are, as `partial_fit` is told."""
    if isinstance(classes, Set):
        classes = list(classes)
    tags = read_column(classes, "classes", "tag").tolist()
    # As the tags of one sentence, so that they pass the checks that those of y pass.
    checked = [_check_tag(tag, f"classes[{i}]") for i, tag in enumerate(tags)]
    return TagSet.of([checked], "classes")


def _check_row(row: Any, sentence: list[str], where: str) -> list[Any]:
    if isinstance(row, str) or not isinstance(row, (Sequence, np.ndarray)):
        raise TypeError(
            f"{where} is {excerpt(row)} of type {type(row).__name__}; expected a list "
            "with a tag for each word."
        )
    if len(row) != len(sentence):
        raise ValueError(
            f"{where} has {len(row)} tags, but the sentence has {len(sentence)} words "
            f"({excerpt(sentence)}); expected a tag for each word."
        )
    return [_check_tag(tag, f"{where}[{j}]") for j, tag in enumerate(row)]


def _check_tag(tag: Any, where: str) -> Any:
    tag = as_python(tag)
    if isinstance(tag, str):
        tag = str.__str__(tag)  # of a subclass, such as an Enum's
    if is_missing(tag):
        raise ValueError(f"{where} is {tag!r}; every word needs a tag.")
    if not isinstance(tag, (str, int)):
        raise TypeError(
            f"{where} is {excerpt(tag)} of type {type(tag).__name__}; expected a str, "
            "or an int."
        )
    if tag == IGNORED:
        raise ValueError(
            f"{where} is {IGNORED}, with which transformers marks pieces of words that "
            "have no tag. Give one tag for each whole word; pieces are aligned inside."
        )
    check_no_nul(tag, where)
    return tag


def _report_orphans(tags: list[list[Any]], name: str) -> None:
    """Warn of entities that begin with I-: they are neither refused nor changed."""
    found = [
        (i, j)
        for i, row in enumerate(tags)
        for j, tag in enumerate(row)
        if isinstance(tag, str) and tag.startswith("I-") and not _goes_on(row, j)
    ]
    if not found:
        return
    i, j = found[0]
    before = repr(tags[i][j - 1]) if j else "nothing"
    warn(
        f"{name}[{i}][{j}] is {tags[i][j]!r} after {before}: an entity begins with I- "
        f"instead of B-, in {len({i for i, _ in found})} of {len(tags)} sentences. The "
        "tags are learnt as they are; write B- where an entity begins, if that was "
        "meant."
    )


def _goes_on(row: list[Any], j: int) -> bool:
    kind = row[j][2:]
    return j > 0 and row[j - 1] in (f"B-{kind}", f"I-{kind}")


def _flat(tags: list[list[Any]]) -> list[Any]:
    return [tag for sentence in tags for tag in sentence]


def _has_prefix(tag: Any) -> bool:
    return isinstance(tag, str) and tag.startswith(PREFIXES)


def _with_prefixes(tags: list[Any]) -> list[str]:
    """Turn flat tags into BIO: words of one tag in a row are one entity."""
    return [
        OUTSIDE
        if tag == OUTSIDE
        else f"{'I' if j and tags[j - 1] == tag else 'B'}-{tag}"
        for j, tag in enumerate(tags)
    ]
