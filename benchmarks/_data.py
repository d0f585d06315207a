"""The texts of the benchmarks, read from a folder of public data sets."""

from __future__ import annotations

import csv
import gzip
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

DATA = Path(os.environ.get("SKLEARN_BERT_DATA", "../shared/data"))

WHERE_DATA = """\
data: the folder named by SKLEARN_BERT_DATA (default ../shared/data) with
  sst2/           GLUE SST-2 (gluebenchmark.com): train.tsv with header
  sst2_sentence/  SST-2, whole sentences: train.tsv, dev.tsv, test.tsv, no header (text,
                  label)
  banking77/      BANKING77 (github.com/PolyAI-LDN/task-specific-datasets): train.csv,
                  test.csv
  nltk_movie_reviews/  Pang and Lee's reviews (nltk.org/nltk_data): movie_reviews.zip
  trec/           TREC question types (cogcomp.org/Data/QA/QC): TREC.train, TREC.test
  cola/           CoLA (nyu-mll.github.io/CoLA): train.tsv, dev.tsv
  mrpc/           Microsoft Research Paraphrase Corpus: train.tsv, dev.tsv, test.tsv
  goemotions/     GoEmotions (github.com/google-research/google-research,
                  goemotions/data): train.tsv, dev.tsv, test.tsv, and its
                  emotions.txt as labels.txt
  stsb/           STS Benchmark (ixa2.si.ehu.eus/stswiki): sts-train.tsv, sts-dev.tsv,
                  sts-test.tsv
  wnut17/         WNUT 2017 emerging entities (github.com/leondz/emerging_entities_17):
                  wnut17train.conll, emerging.dev.conll, emerging.test.annotated
  clinc150/       CLINC150 (github.com/clinc/oos-eval): data_full.json
  sms_spam/       SMS Spam Collection (archive.ics.uci.edu): SMSSpamCollection
  germeval2018/   GermEval 2018 (github.com/uds-lsv/GermEval-2018-Data):
                  germeval2018.training.txt, germeval2018.test.txt
  masc/           written texts of MASC (the Open American National Corpus), one
                  sentence a line, a blank line between documents: masc_plain.txt.gz
  bert_vocab/     bert-base-uncased-vocab.txt, where all-MiniLM-L6-v2 is not installed
  reference_scores.csv  columns data, metric, acc, mcc of a transformers.Trainer run
"""


def need_data(*names: str) -> None:
    """Leave with a clear message where the data are not there."""
    absent = [name for name in names if not (DATA / name).exists()]
    if absent:
        raise SystemExit(f"skipped: {DATA} has no {', '.join(absent)}.\n{WHERE_DATA}")


def read_tsv(path: str, **options) -> pd.DataFrame:
    """Read a table with quoting off, as all of these need."""
    return pd.read_csv(DATA / path, sep="\t", quoting=csv.QUOTE_NONE, **options)


def sst2_phrases(n: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Distinct phrases of SST-2 with their labels: 9 words on average."""
    need_data("sst2")
    frame = read_tsv("sst2/train.tsv").drop_duplicates("sentence")
    frame = frame.sample(min(n, len(frame)), random_state=seed)
    return frame["sentence"].tolist(), frame["label"].to_numpy()


def sst2_sentences(n: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Distinct whole sentences of SST-2 with their labels: 19 words on average."""
    need_data("sst2_sentence")
    frame = read_tsv("sst2_sentence/train.tsv", header=None).drop_duplicates(0)
    frame = frame.sample(min(n, len(frame)), random_state=seed)
    return frame[0].tolist(), frame[1].to_numpy()


def movie_reviews(n: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Whole film reviews with their labels: 750 words on average."""
    need_data("nltk_movie_reviews")
    path = DATA / "nltk_movie_reviews" / "movie_reviews.zip"
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".txt")]
        names = np.random.default_rng(seed).permutation(sorted(names))[:n]
        texts = [archive.read(name).decode("latin-1") for name in names]
    return texts, np.array(["/pos/" in name for name in names], dtype=int)


def goemotions(split: str) -> tuple[list[str], np.ndarray]:
    """Comments, and which of 28 emotions each of them shows: 12 words on average."""
    need_data("goemotions")
    names = (DATA / "goemotions" / "labels.txt").read_text("utf-8").split()
    # "NA" and "null" are comments here, not gaps.
    frame = read_tsv(f"goemotions/{split}.tsv", header=None, keep_default_na=False)
    emotions = np.zeros((len(frame), len(names)), dtype=int)
    for row, numbers in enumerate(frame[1].astype(str)):
        emotions[row, [int(number) for number in numbers.split(",")]] = 1
    return frame[0].tolist(), emotions


def stsb(split: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Pairs of sentences, and how alike they are, from 0 to 5."""
    need_data("stsb")
    # Some rows end with two columns more, which name where the sentences are from.
    columns = [*"abcd", "score", "sentence1", "sentence2", *"ef"]
    frame = read_tsv(f"stsb/sts-{split}.tsv", names=columns, keep_default_na=False)
    pairs = frame[["sentence1", "sentence2"]]
    return pairs, frame["score"].to_numpy(dtype=float)


WNUT17_FILES = {
    "train": "wnut17train.conll",
    "dev": "emerging.dev.conll",
    "test": "emerging.test.annotated",
}


def wnut17(split: str) -> tuple[list[list[str]], list[list[str]]]:
    """Sentences as lists of words, and the BIO tag of each word, of six types."""
    need_data("wnut17")
    text = (DATA / "wnut17" / WNUT17_FILES[split]).read_text("utf-8")
    sentences: list[list[list[str]]] = [[]]
    for line in text.split("\n"):  # not splitlines: a word may be a line separator
        if line.strip():
            sentences[-1].append(line.split("\t"))
        elif sentences[-1]:
            sentences.append([])
    columns = [zip(*sentence, strict=True) for sentence in sentences if sentence]
    words, tags = zip(*columns, strict=True)
    return [list(sentence) for sentence in words], [list(sentence) for sentence in tags]


def clinc150(split: str) -> tuple[list[str], np.ndarray]:
    """Requests to an assistant, and which of 150 intents each has."""
    need_data("clinc150")
    rows = json.loads((DATA / "clinc150" / "data_full.json").read_text("utf-8"))[split]
    texts, intents = zip(*rows, strict=True)
    return list(texts), np.array(intents)


def trec(split: str, *, fine: bool = False) -> tuple[list[str], np.ndarray]:
    """Questions, and what they ask for: six types, or with `fine` fifty."""
    need_data("trec")
    lines = (DATA / "trec" / f"TREC.{split}").read_text("latin-1").splitlines()
    types, texts = zip(*(line.split(" ", 1) for line in lines), strict=True)
    labels = types if fine else [name.partition(":")[0] for name in types]
    return list(texts), np.array(labels)


def sst2_split(split: str) -> tuple[list[str], np.ndarray]:
    """Whole sentences of a part of SST-2 with their labels, as they come."""
    need_data("sst2_sentence")
    path = f"sst2_sentence/{split}.tsv"
    frame = read_tsv(path, header=None, keep_default_na=False)
    return frame[0].tolist(), frame[1].to_numpy()


def cola(split: str) -> tuple[list[str], np.ndarray]:
    """Sentences, and whether they are acceptable English."""
    need_data("cola")
    frame = read_tsv(f"cola/{split}.tsv", header=None, keep_default_na=False)
    return frame[3].tolist(), frame[1].to_numpy()


def mrpc(split: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Pairs of sentences, and whether they say the same."""
    need_data("mrpc")
    path = f"mrpc/{split}.tsv"
    frame = read_tsv(path, encoding="utf-8-sig", keep_default_na=False)
    return frame[["#1 String", "#2 String"]], frame["Quality"].to_numpy()


def banking77(split: str) -> tuple[list[str], np.ndarray]:
    """Questions to a bank, and which of 77 intents each has."""
    need_data("banking77")
    # This one has commas, and quotes that mean something.
    frame = pd.read_csv(DATA / "banking77" / f"{split}.csv", keep_default_na=False)
    return frame["text"].tolist(), frame["category"].to_numpy(dtype=str)


def germeval2018(split: str) -> tuple[list[str], np.ndarray]:
    """German tweets, and whether they offend; `split` is "training" or "test"."""
    need_data("germeval2018")
    path = f"germeval2018/germeval2018.{split}.txt"
    frame = read_tsv(path, header=None, keep_default_na=False)
    texts = frame[0].str.replace("|LBR|", " ", regex=False)
    return texts.tolist(), frame[1].to_numpy(dtype=str)


def sms_spam(split: str, n_test: int = 1000) -> tuple[list[str], np.ndarray]:
    """Distinct short messages, and whether they are spam; the split is ours, fixed."""
    need_data("sms_spam")
    frame = read_tsv("sms_spam/SMSSpamCollection", header=None, keep_default_na=False)
    frame = frame.drop_duplicates(1).sample(frac=1, random_state=0)
    part = frame[:n_test] if split == "test" else frame[n_test:]
    return part[1].tolist(), part[0].to_numpy(dtype=str)


def masc() -> list[list[str]]:
    """Documents of many kinds, as lists of sentences."""
    need_data("masc")
    path = DATA / "masc" / "masc_plain.txt.gz"
    text = gzip.decompress(path.read_bytes()).decode("utf-8")
    documents = (part.splitlines() for part in text.split("\n\n"))
    return [lines for part in documents if (lines := [x for x in part if x.strip()])]


def cut_to_random_length(
    texts: list[str], fewest: int, most: int, seed: int = 0
) -> list[str]:
    """Keep the first so many words of each text, as many as a die says."""
    rng = np.random.default_rng(seed)
    n_words = rng.integers(fewest, most, len(texts), endpoint=True)
    return [" ".join(text.split()[:n]) for text, n in zip(texts, n_words, strict=True)]


def mixed_texts(n: int, seed: int = 0) -> list[str]:
    """Distinct texts of 1 to 250 words, shuffled.

    A quarter are phrases of SST-2 (9 words on average), a quarter questions of
    BANKING77 (12), and half are pieces of film reviews (10 to 250, evenly spread).
    """
    need_data("banking77")
    phrases, _ = sst2_phrases(n // 4, seed)
    questions = pd.read_csv(DATA / "banking77" / "train.csv")["text"].drop_duplicates()
    questions = questions.sample(min(n // 4, len(questions)), random_state=seed)
    n_pieces = n - len(phrases) - len(questions)
    pieces = cut_to_random_length(_review_pieces(n_pieces, seed), 10, 250, seed)
    texts = list(dict.fromkeys([*phrases, *questions, *pieces]))
    return [texts[i] for i in np.random.default_rng(seed).permutation(len(texts))]


def _review_pieces(n: int, seed: int) -> list[str]:
    """Runs of 250 words from the reviews."""
    reviews, _ = movie_reviews(max(n, 1), seed)
    words = [review.split() for review in reviews]
    longest = max(len(review) for review in words)
    pieces = [
        " ".join(review[begin : begin + 250])
        for begin in range(0, longest, 250)
        for review in words
        if len(review) > begin + 10
    ]
    return pieces[:n]
