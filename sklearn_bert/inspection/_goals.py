"""What is explained: one number f for each text and target."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sklearn_bert.compute._windows import maximum_of_windows, mean_of_windows
from sklearn_bert.inspection._reading import Reading
from sklearn_bert.model._text_model import TextModel
from sklearn_bert.targets._labels import OneOfSeveral
from sklearn_bert.text._columns import as_python, excerpt
from sklearn_bert.text._words import WordTable


class Goals:
    """Numbers to explain; goal `i` is `columns[i]` of the answers for `texts[i]`.

    Attributes
    ----------
    reading : Reading
    names : list
        Of the columns: the targets as the caller knows them.
    texts, columns : ndarray of shape (n_goals,), int64
    """

    def __init__(self, reading: Reading, names: list[Any]) -> None:
        self.reading = reading
        self.names = names
        self.texts = self.columns = np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.texts)

    def column(self, target: Any) -> int:
        """Return the column of a target, or raise ValueError."""
        if target not in self.names:
            raise ValueError(
                f"target is {excerpt(target)}; expected 'predicted', 'all' or one of "
                f"{excerpt(self.names)}."
            )
        return self.names.index(target)

    def choose(self, target: Any, predicted: Callable[[], np.ndarray]) -> None:
        """Set the goals: the targets of each text.

        Parameters
        ----------
        target : "predicted", "all" or one of `names`
        predicted : callable
            Computes which columns are predicted, bool of shape (n_texts, n_columns).
        """
        chosen = np.zeros((len(self.reading), len(self.names)), dtype=bool)
        target = as_python(target)
        if target == "all":
            chosen[:] = True
        elif target == "predicted":
            chosen |= predicted()
        else:
            chosen[:, self.column(target)] = True
        # A text without any word has nothing to score.
        chosen[[len(words) == 0 for words in self.reading.words]] = False
        self.texts, self.columns = np.nonzero(chosen)

    def outputs(self, model: TextModel, inputs: dict[str, Any]) -> Tensor:
        """Compute what the model gives for rows."""
        return model(**inputs)

    def values(
        self, outputs: Tensor, goals: np.ndarray, item_of_row: Tensor, rows: np.ndarray
    ) -> Tensor:
        """Compute f of some items, (n_items,), each of a goal.

        Parameters
        ----------
        outputs : Tensor
            Of the items' rows, one item after the other.
        goals : ndarray of shape (n_items,)
        item_of_row : int64 Tensor of shape (n_rows,)
        rows : ndarray of shape (n_rows,)
        """
        raise NotImplementedError

    def _merge(
        self, merge: Any, outputs: Tensor, item_of_row: Tensor, rows: Any
    ) -> Any:
        shares = torch.from_numpy(self.reading.shares[rows]).to(outputs.device)
        return merge(outputs, item_of_row, shares, int(item_of_row[-1]) + 1)


class ClassGoals(Goals):
    """The log-odds of classes: of two or more, or of each label.

    Parameters
    ----------
    reading : Reading
    labels : Labels
    temperature : float
        Divides the logits.
    """

    def __init__(self, reading: Reading, labels: Any, temperature: float) -> None:
        super().__init__(reading, labels.classes.tolist())
        self.labels = labels
        self.temperature = temperature

    def predicted(self, scores: np.ndarray) -> np.ndarray:
        """Tell the likeliest class, or all likely labels; at least the likeliest."""
        proba = self.labels.proba(scores / self.temperature)
        likeliest = np.arange(proba.shape[1]) == proba.argmax(axis=1)[:, None]
        if isinstance(self.labels, OneOfSeveral):
            return likeliest
        return (proba > 0.5) | likeliest

    def values(
        self, outputs: Tensor, goals: np.ndarray, item_of_row: Tensor, rows: np.ndarray
    ) -> Tensor:
        """Compute the logit of the probability that `predict_proba` gives."""
        merged = self._merge(self.labels.merge_windows, outputs, item_of_row, rows)
        columns = torch.from_numpy(self.columns[goals]).to(outputs.device)
        scores = merged / self.temperature
        if isinstance(self.labels, OneOfSeveral):
            return log_odds(scores, columns)
        return scores.gather(1, columns[:, None])[:, 0]


class NumberGoals(Goals):
    """The numbers that a regressor predicts, in their units.

    Parameters
    ----------
    reading : Reading
    merge_windows : callable
    mean, scale : ndarray of shape (n_targets,)
    """

    def __init__(
        self, reading: Reading, merge_windows: Any, mean: np.ndarray, scale: np.ndarray
    ) -> None:
        super().__init__(reading, list(range(len(mean))))
        self.merge_windows = merge_windows
        self.mean, self.scale = mean, scale

    def values(
        self, outputs: Tensor, goals: np.ndarray, item_of_row: Tensor, rows: np.ndarray
    ) -> Tensor:
        """Compute what `predict` gives."""
        merged = self._merge(self.merge_windows, outputs, item_of_row, rows)
        merged = merged.cpu().double()  # MPS has no float64
        columns = self.columns[goals]
        chosen = merged[np.arange(len(columns)), columns]
        scale, mean = (torch.from_numpy(x[columns]) for x in (self.scale, self.mean))
        return chosen * scale + mean


class TagGoals(Goals):
    """The mean log-odds of a tag, over the words that are predicted to have it.

    Of a tag that no word of a sentence has: at the word where it is likeliest.

    Parameters
    ----------
    reading : Reading
        Of a table of words.
    classes : ndarray of shape (n_tags,)
    compute : callable
        Returns the scores of the words of all sentences, (n_words, n_tags).
    """

    def __init__(
        self, reading: Reading, classes: np.ndarray, compute: Callable[[], np.ndarray]
    ) -> None:
        super().__init__(reading, classes.tolist())
        self._compute = compute
        n_words = np.array([len(words) for words in reading.words])
        self.sentence_of_word = np.repeat(np.arange(len(n_words)), n_words)

    @functools.cached_property
    def scores(self) -> np.ndarray:
        """Those of words: (n_words, n_tags)."""
        return self._compute()

    @functools.cached_property
    def best(self) -> np.ndarray:
        """The likeliest tag of each word."""
        return self.scores.argmax(axis=1)

    def predicted(self) -> np.ndarray:
        """Tell the tags in each sentence; "O", for no entity, only if all are that."""
        found = np.zeros((len(self.reading), len(self.names)), dtype=bool)
        found[self.sentence_of_word, self.best] = True
        if "O" in self.names:
            outside = self.names.index("O")
            found[found.sum(axis=1) > 1, outside] = False
        return found

    def values(
        self, outputs: Tensor, goals: np.ndarray, item_of_row: Tensor, rows: np.ndarray
    ) -> Tensor:
        """Compute the mean log-odds of each goal's tag."""
        table = self.reading.table
        assert isinstance(table, WordTable)
        words = table.targets_of(rows)
        item_of_word = np.repeat(item_of_row.cpu().numpy(), table.word_counts[rows])
        columns = self.columns[goals][item_of_word]
        weights = self._weights(goals, words, item_of_word, columns)
        odds = log_odds(outputs, torch.from_numpy(columns).to(outputs.device))
        sums = outputs.new_zeros(len(goals))
        where = torch.from_numpy(item_of_word).to(outputs.device)
        return sums.index_add(0, where, odds * weights.to(outputs.device))

    def _weights(
        self,
        goals: np.ndarray,
        words: np.ndarray,
        item_of_word: np.ndarray,
        columns: np.ndarray,
    ) -> Tensor:
        """Return the share of each word in the f of its item."""
        has_tag = self.best[words] == columns
        counts = np.bincount(item_of_word, has_tag, minlength=len(goals))
        odds = log_odds(*map(torch.from_numpy, (self.scores[words], columns))).numpy()
        for item in np.flatnonzero(counts == 0):
            of_item = np.flatnonzero(item_of_word == item)
            has_tag[of_item[odds[of_item].argmax()]] = True
        weights = has_tag / np.maximum(counts, 1)[item_of_word]
        return torch.from_numpy(weights.astype(np.float32))


class SimilarityGoals(Goals):
    """The cosine similarity of a text with the other side of its pair, which stays.

    Parameters
    ----------
    reading : Reading
        Of both sides.
    compute : callable
        Returns the vectors of all texts, (n_texts, width).
    model : TextModel
    """

    def __init__(
        self, reading: Reading, compute: Callable[[], np.ndarray], model: TextModel
    ) -> None:
        super().__init__(reading, ["similarity"])
        self._compute = compute
        self.model = model

    @functools.cached_property
    def others(self) -> Tensor:
        """The vector of the other side of each text, of length 1."""
        others = np.roll(self._compute(), self.reading.n_rows_of_X, axis=0)
        return functional.normalize(torch.from_numpy(others))

    def outputs(self, model: TextModel, inputs: dict[str, Any]) -> Tensor:
        """Compute the vectors of rows."""
        return model.vectors(**inputs)

    def values(
        self, outputs: Tensor, goals: np.ndarray, item_of_row: Tensor, rows: np.ndarray
    ) -> Tensor:
        """Compute the cosines."""
        is_maximum = self.model.pooling == "max"
        merge = maximum_of_windows if is_maximum else mean_of_windows
        vectors = self.model.finish(self._merge(merge, outputs, item_of_row, rows))
        others = self.others[self.texts[goals]].to(outputs.device)
        return (functional.normalize(vectors) * others).sum(dim=1)


def log_odds(scores: Tensor, columns: Tensor) -> Tensor:
    """Return the logit of the softmax of one column: (n_rows,)."""
    columns = columns[:, None]
    others = scores.scatter(1, columns, -torch.inf).logsumexp(dim=1)
    return scores.gather(1, columns)[:, 0] - others
