import json
import re

import pandas as pd
import pytest
import torch

from sklearn_bert import BertEmbedder
from sklearn_bert._process._errors import CheckpointError
from sklearn_bert.model._checkpoint import load_checkpoint
from sklearn_bert.text._input import check_texts

MODES = ["cls_token", "mean_tokens", "max_tokens"]


@pytest.mark.parametrize("pooling", ["mean", "max", "cls"])
def test_pooling_auto_follows_sentence_transformers(make_checkpoint, pooling):
    """A 1_Pooling folder says how the states are pooled."""
    folder = make_checkpoint()
    flags = {f"pooling_mode_{m}": m.startswith(pooling) for m in MODES}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(flags))
    assert load_checkpoint(folder).resolve_pooling("auto") == pooling


def test_pooling_auto_reads_the_newer_form(make_checkpoint):
    """A Pooling module's file may name its mode."""
    folder = make_checkpoint()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "cls"}')
    assert load_checkpoint(folder).resolve_pooling("auto") == "cls"


def test_unknown_pooling_is_named(make_checkpoint):
    """A pooling that is not offered is an error for "auto", and only for it."""
    folder = make_checkpoint()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "lasttoken"}')
    found = load_checkpoint(folder)
    with pytest.raises(CheckpointError, match="'lasttoken'.*set pooling"):
        found.resolve_pooling("auto")
    assert found.resolve_pooling("mean") == "mean"


def test_unknown_sentence_module_is_named(make_checkpoint):
    """A Dense module would be left out silently: it is an error instead."""
    folder = make_checkpoint()
    modules = json.loads((folder / "modules.json").read_text())
    modules.append({"idx": 2, "name": "2", "path": "2_Dense", "type": "x.models.Dense"})
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(CheckpointError, match="'Dense'.*pooling='mean'"):
        load_checkpoint(folder).ends_normalized()


@pytest.mark.parametrize("name", ["0_Transformer", "0_BERT", "encoder"])
def test_transformer_in_a_folder_of_its_own(make_checkpoint, name):
    """The older layout of sentence-transformers is read as the newer one."""
    folder, flat = make_checkpoint(), make_checkpoint()
    (folder / name).mkdir()
    for path in folder.glob("*.*"):
        if path.is_file() and path.name != "modules.json":
            path.rename(folder / name / path.name)
    (folder / name / "sentence_bert_config.json").write_text('{"max_seq_length": 16}')
    kind = "BERT" if name == "0_BERT" else "Transformer"
    modules = json.loads((folder / "modules.json").read_text())
    modules[0] |= {"path": name, "type": f"sentence_transformers.models.{kind}"}
    (folder / "modules.json").write_text(json.dumps(modules))
    found, expected = load_checkpoint(folder), load_checkpoint(flat)
    weights = expected.encoder.state_dict()
    for tensor, value in found.encoder.state_dict().items():
        assert torch.equal(value, weights[tensor])
    assert found.pooling == expected.pooling
    assert found.text_tokenizer(None).max_length == 16
    assert found.fingerprint() == expected.fingerprint()


@pytest.mark.parametrize("asked", [True, False])
def test_small_letters_of_a_sentence_transformer(make_checkpoint, asked):
    """What its file says of lower case is done before the tokenizer's own part."""
    folder = make_checkpoint()
    path = folder / "tokenizer.json"
    spec = json.loads(path.read_text())
    spec["normalizer"]["lowercase"] = False
    path.write_text(json.dumps(spec))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"})
    )
    settings = {"max_seq_length": 64, "do_lower_case": asked}
    (folder / "sentence_bert_config.json").write_text(json.dumps(settings))
    backend = load_checkpoint(folder).text_tokenizer(None).backend
    small, large = (backend.encode(text).ids for text in ("a good film", "A GOOD Film"))
    assert (small == large) == asked


def test_default_prompt_is_refused_where_vectors_would_differ(make_checkpoint):
    """A checkpoint that puts a prompt before texts says so, and how to do the same."""
    folder = make_checkpoint()
    prompts = {"default_prompt_name": "query", "prompts": {"query": "query: "}}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    with pytest.raises(CheckpointError, match=r"'query: '.*template='query: \{text\}'"):
        load_checkpoint(folder).check_prompt()


def test_braces_of_a_default_prompt_are_its_own(make_checkpoint):
    """The template that is offered gives the prompt, though it holds braces."""
    folder = make_checkpoint()
    prompts = {"default_prompt_name": "q", "prompts": {"q": "{query}: "}}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    with pytest.raises(CheckpointError, match="template=") as caught:
        load_checkpoint(folder).check_prompt()
    template = re.search("template='(.*?)' and", str(caught.value))[1]
    frame = pd.DataFrame({"text": ["a film"]})
    assert check_texts(frame, template=template).first == ["{query}: a film"]


@pytest.mark.parametrize("template", [None, "query: {text}"])
def test_prompt_that_is_not_pooled_is_refused(make_checkpoint, template):
    """Where the prompt is left out of the mean, no template does the same."""
    folder = make_checkpoint()
    prompts = {"default_prompt_name": "query", "prompts": {"query": "query: "}}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    pooling = {"pooling_mode_mean_tokens": True, "include_prompt": False}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    X = pd.DataFrame({"text": ["a film"]})
    settings = {"template": template, "device": "cpu"}
    with pytest.raises(CheckpointError, match="leaves it out.*pooling='mean'") as error:
        BertEmbedder(folder, **settings).fit(X)
    assert "template" not in str(error.value)
    BertEmbedder(folder, pooling="mean", **settings).fit(X)
