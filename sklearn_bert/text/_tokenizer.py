"""Texts -> a table of token ids, each distinct text tokenised once."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import blake2b
from typing import Any

import numpy as np
from tokenizers import Encoding, Tokenizer

from sklearn_bert._process._cache import TOKENS, WEIGHTS
from sklearn_bert._process._fork import is_forked
from sklearn_bert.text._input import Texts
from sklearn_bert.text._long import Tokens, shorten, truncate, windows_of
from sklearn_bert.text._special_tokens import SpecialTokens
from sklearn_bert.text._table import TokenTable

# The special tokens that transformers gives a name, as in `cls_token`.
SPECIAL_NAMES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
TEXTS_PER_CALL = 8192  # bounds the tokenizer's own objects, which are large
KEY_LENGTH = 256  # characters; the key of a longer text is its hash
BYTES_PER_TOKEN = 200  # of a parsed tokenizer, for each token of its vocabulary


class TextTokenizer:
    """A fast tokenizer with fixed settings: no padding, and one length limit.

    Parameters
    ----------
    backend : tokenizers.Tokenizer
        Copied; the caller's truncation and padding settings are not touched.
    shares_backend : bool
        Whether to use the backend itself, not a copy: it must neither truncate nor pad,
        and nobody may change it.
    max_length : int
        Length limit of a text, in tokens, special tokens included.
    pad_id : int
        The id that fills the rows of a batch.
    has_type_ids : bool
        Whether the model tells the halves of a pair apart by token types.
    config : dict
        The content of `tokenizer_config.json`, for saving.
    long_text : {"truncate", "head_tail", "window"}
        How to read a text that is longer.
    window_stride : int or None
        Tokens from the start of one window to the start of the next; None: windows do
        not overlap.
    n_embeddings : int or None
        The number of embeddings of the model; None: at least one per id.

    Attributes
    ----------
    named_ids : dict of str to int
        The ids of the special tokens, by their names in `SPECIAL_NAMES`.

    Raises
    ------
    ValueError
        If the stride is longer than a window, so that tokens would be left out.
    """

    # Whom an error names.
    owner = "the checkpoint"

    def __init__(
        self,
        backend: Tokenizer,
        *,
        max_length: int,
        pad_id: int,
        has_type_ids: bool,
        config: dict[str, Any],
        long_text: str = "truncate",
        window_stride: int | None = None,
        n_embeddings: int | None = None,
        shares_backend: bool = False,
    ) -> None:
        self.max_length = max_length
        self.pad_id = pad_id
        self.has_type_ids = has_type_ids
        self.config = config
        self.long_text = long_text
        self.window_stride = window_stride
        self.n_embeddings = n_embeddings
        # Its settings must never change: threads that switch truncation on and off in a
        # shared tokenizer would disturb each other.
        self.backend = backend if shares_backend else plain_backend(backend)
        self._special_tokens: dict[int, SpecialTokens] = {}
        tokens = {name: config.get(f"{name}_token") for name in SPECIAL_NAMES}
        self.named_ids = {
            name: i
            for name, token in tokens.items()
            if token is not None and (i := backend.token_to_id(token)) is not None
        }
        budget = max_length - backend.num_special_tokens_to_add(is_pair=False)
        if (
            window_stride is not None
            and long_text == "window"
            and window_stride > budget
        ):
            raise ValueError(
                f"window_stride is {window_stride}, but a window holds {budget} tokens "
                f"of a text (max_length {max_length} less the special ones), so that "
                f"tokens between windows would not be read; expected at most {budget}."
            )

    def __repr__(self) -> str:
        return f"TextTokenizer(max_length={self.max_length})"

    @classmethod
    def from_json(cls, text: str, settings: dict[str, Any]) -> TextTokenizer:
        """Build the tokenizer that `to_json` and `settings` describe."""
        return cls(Tokenizer.from_str(text), **settings)

    def to_json(self) -> str:
        """Return the text of a `tokenizer.json`, without a length limit."""
        return self.backend.to_str()

    def settings(self) -> dict[str, Any]:
        """Return the arguments, beside the backend, that build this tokenizer again."""
        settings = {
            "max_length": self.max_length,
            "pad_id": self.pad_id,
            "has_type_ids": self.has_type_ids,
            "config": self.config,
            "long_text": self.long_text,
            "window_stride": self.window_stride,
        }
        if self.n_embeddings is not None:
            settings["n_embeddings"] = self.n_embeddings
        return settings

    def special_tokens(self, n_halves: int = 1) -> SpecialTokens:
        """Return the special tokens around a text, or around the halves of a pair."""
        if n_halves not in self._special_tokens:
            self._special_tokens[n_halves] = SpecialTokens(self.backend, n_halves)
        return self._special_tokens[n_halves]

    @property
    def divides_pairs(self) -> bool:
        """Whether the model can take out of a pair each text as it would be alone."""
        alone, pair = self.special_tokens(1), self.special_tokens(2)
        return self.has_type_ids and pair.divides_into(alone)

    def special_id(self, name: str) -> int | None:
        """Return the id of the special token with a name, e.g. "mask", or None."""
        return self.named_ids.get(name)

    def special_ids(self) -> np.ndarray:
        """Return the ids of all special tokens."""
        return np.unique(list(self.named_ids.values()))

    def known_ids(self) -> np.ndarray:
        """Return the ids of the vocabulary that have an embedding, sorted."""
        ids = np.array(sorted(self.backend.get_vocab().values()))
        return ids if self.n_embeddings is None else ids[ids < self.n_embeddings]

    def check_ids(self, ids: np.ndarray) -> None:
        """Raise ValueError if the model has no embedding for an id."""
        if self.n_embeddings is None:
            return
        # The model looks up the padding, too.
        largest = max(self.pad_id, int(ids.max(initial=0)))
        if largest >= self.n_embeddings:
            token = self.backend.id_to_token(largest)
            raise ValueError(
                f"the tokenizer makes the token {token!r} with the id {largest}, but "
                f"{self.owner} has embeddings for ids below {self.n_embeddings} "
                "only: tokens were added to its tokenizer and not to its model. Call "
                "model.resize_token_embeddings(len(tokenizer)) and save both again, "
                "or save the tokenizer without the added tokens."
            )

    @property
    def unknown_id(self) -> int:
        """The id for a word that the tokenizer turns into no token at all."""
        known = (self.backend.token_to_id(name) for name in ("[UNK]", "<unk>"))
        return next((i for i in known if i is not None), self.pad_id)

    @functools.cached_property
    def unknown_token_id(self) -> int | None:
        """The id that stands for unknown words, or None where every word is known."""
        token = getattr(self.backend.model, "unk_token", None)
        unknown = self.named_ids.get("unk")
        if token is not None:
            unknown = self.backend.token_to_id(token)
        # A byte-level tokenizer knows all words, and may name another token as unknown.
        others = [i for name, i in self.named_ids.items() if name != "unk"]
        return None if unknown in others else unknown

    @functools.cached_property
    def for_words(self) -> Tokenizer:
        """The backend for single words: byte-level ones are read as after a space."""
        spec = json.loads(self.to_json())
        part = spec["pre_tokenizer"]
        for step in (part or {}).get("pretokenizers", [part or {}]):
            if step.get("type") == "ByteLevel":
                step["add_prefix_space"] = True
        return Tokenizer.from_str(json.dumps(spec))

    def __getstate__(self) -> dict[str, Any]:
        # The bytes of an array need not be in the pickle: of many languages they are
        # 17 MB. See `model/_weight_array.py`.
        content = np.frombuffer(self.to_json().encode(), np.uint8)
        return {"json": content, "settings": self.settings()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        backend = _parse_once(state["json"])
        self.__init__(backend, **state["settings"], shares_backend=True)  # type: ignore[misc]

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash that is equal for tokenizers with the same output for every text."""
        settings = f"{self.max_length} {self.pad_id} {self.has_type_ids} "
        settings += f"{self.long_text} {self.window_stride} "
        return hashed(settings + self.backend.to_str())

    def __call__(self, texts: Texts, *, remember: bool = True) -> TokenTable:
        """Tokenise each distinct text once, or take its tokens from the cache."""
        distinct, row_of = texts.distinct()
        rows = distinct.rows()
        tokens = TOKENS.get(
            cache_keys(self.fingerprint, distinct),
            lambda missing: self._tokenise([rows[i] for i in missing]),
            size=size_in_bytes,
            keep=remember,
        )
        ids, types, whole_lengths, is_cut, windows = zip(*tokens, strict=True)
        lengths = np.array([len(i) for i in ids]) // 4  # int32 has 4 bytes
        starts = np.cumsum(lengths) - lengths
        # One array for all: an array for each text takes more memory than its ids.
        all_ids = np.frombuffer(b"".join(ids), dtype=np.int32)
        self.check_ids(all_ids)
        table = TokenTable(
            ids=all_ids,
            starts=starts,
            lengths=lengths,
            whole_lengths=np.array(whole_lengths),
            type_ids=(
                None if types[0] is None else np.frombuffer(b"".join(types), np.uint8)
            ),
            is_cut=np.array(is_cut),
        )
        if self.long_text == "window":
            found, window_lengths = windows_of(windows, lengths)
            table = replace(table, windows=found, window_lengths=window_lengths)
        # Where no text occurs twice the rows are in order.
        return table if len(table) == len(row_of) else table.take(row_of)

    def in_parts(
        self, texts: Texts, size: int, *, remember: bool = True
    ) -> Iterator[TokenTable]:
        """Yield tables of `size` texts; a thread tokenises the next ones meanwhile."""
        if len(texts) <= size:
            yield self(texts, remember=remember)
            return
        begins = range(0, len(texts), size)
        parts = (texts.part(begin, begin + size) for begin in begins)
        tables = (self(part, remember=remember) for part in parts)
        # One table ahead: tokenising overlaps with the model, which releases the GIL.
        with ThreadPoolExecutor(max_workers=1) as thread:
            coming = thread.submit(next, tables)
            for _ in begins[1:]:
                table, coming = coming.result(), thread.submit(next, tables)
                yield table
            yield coming.result()

    def _tokenise(self, texts: list[Any]) -> list[Tokens]:
        with_types = isinstance(texts[0], tuple) and self.has_type_ids
        tokenised = []
        encodings = encode_texts(self.backend, texts)
        for text, encoding in zip(texts, encodings, strict=True):
            if len(encoding) <= self.max_length:
                # Without special tokens "" has no token at all. It is read as one token
                # of padding, because a model cannot read an empty row.
                ids = np.array(encoding.ids or [self.pad_id], dtype=np.int32).tobytes()
                types = bytes(encoding.type_ids or [0]) if with_types else None
                tokenised.append(Tokens(ids, types, len(encoding)))
            elif self.long_text == "truncate":
                cut = truncate(encoding, self.max_length, with_types=with_types)
                tokenised.append(cut)
            else:
                tokenised.append(self._shorten(text, len(encoding), with_types))
        return tokenised

    def _shorten(
        self, text: str | tuple[str, str], length: int, with_types: bool
    ) -> Tokens:
        """Return the head and tail, or the windows, of a text that is too long."""
        # The halves are tokenised again, without special tokens, because the pieces of
        # a text that is divided get special tokens of their own.
        sides = text if isinstance(text, tuple) else (text,)
        return shorten(
            [
                np.array(self.backend.encode(side, add_special_tokens=False).ids)
                for side in sides
            ],
            self.special_tokens(len(sides)),
            length,
            max_length=self.max_length,
            window_stride=self.window_stride,
            long_text=self.long_text,
            with_types=with_types,
        )


def encode_texts(
    backend: Tokenizer, texts: Sequence[Any], **options: bool
) -> Iterator[Encoding]:
    """Tokenise texts, pairs or lists of words: with all cores, or one after a fork.

    The threads of a process do not live on in its children. A tokenizer that is told
    to use threads (TOKENIZERS_PARALLELISM=true) would wait for them for ever.
    """
    for begin in range(0, len(texts), TEXTS_PER_CALL):
        chunk = texts[begin : begin + TEXTS_PER_CALL]
        # To hand one text to another thread takes longer than to tokenise it.
        if not is_forked() and len(chunk) > 1:
            yield from backend.encode_batch_fast(chunk, **options)
            continue
        for text in chunk:
            halves = text if isinstance(text, tuple) else (text,)
            yield backend.encode(*halves, **options)


def plain_backend(backend: Tokenizer) -> Tokenizer:
    """Return a copy that neither truncates nor pads."""
    copy = Tokenizer.from_str(backend.to_str())
    copy.no_truncation()
    copy.no_padding()
    return copy


def _parse_once(content: np.ndarray) -> Tokenizer:
    """Parse the bytes of a plain backend, unless the process keeps it already."""

    def parse(_: list[int]) -> list[Tokenizer]:
        return [plain_backend(Tokenizer.from_buffer(content.tobytes()))]

    key = "tokenizer", blake2b(content.data, digest_size=16).digest()
    (backend,) = WEIGHTS.get([key], parse, size=n_bytes_of)
    return backend


def n_bytes_of(backend: Tokenizer) -> int:
    """Return about how much memory a parsed tokenizer takes."""
    return BYTES_PER_TOKEN * backend.get_vocab_size()


def cache_keys(fingerprint: str, texts: Texts) -> list[str]:
    """Return the key of each text, or pair, in the cache.

    Each key is one string: many tuples would start the garbage collector.
    """
    first = [t if len(t) <= KEY_LENGTH else hashed(t) for t in texts.first]
    if texts.second is None:
        return [f"{fingerprint} {text}" for text in first]
    # The length of the first tells where it ends: ("ab", "c") is not ("a", "bc").
    second = [t if len(t) <= KEY_LENGTH else hashed(t) for t in texts.second]
    pairs = zip(first, second, strict=True)
    return [f"{fingerprint}{len(one)} {one}{other}" for one, other in pairs]


def hashed(text: str) -> str:
    # No text begins with a lone surrogate, so no text can be equal to a hash.
    return "\ud800" + blake2b(text.encode(), digest_size=16).hexdigest()


def size_in_bytes(tokens: Tokens) -> int:
    key = len(tokens.ids)  # the key, a text, is about as long as its ids
    n_bytes = len(tokens.ids) + len(tokens.type_ids or b"")
    return key + n_bytes + len(tokens.windows or b"")
