import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load as load_bytes
from safetensors.torch import load_file, save_file
from safetensors.torch import save as save_bytes
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    BigBirdConfig,
    DistilBertConfig,
    ElectraConfig,
    MPNetConfig,
    RobertaConfig,
    XLNetConfig,
)
from transformers.utils import logging

from sklearn_bert import BertEmbedder
from sklearn_bert._process._cache import BoundedCache
from sklearn_bert._process._errors import CheckpointError, DamagedCheckpointError
from sklearn_bert.model import _checkpoint
from sklearn_bert.model._checkpoint import load_checkpoint


def test_weights_are_the_file_s(checkpoint):
    """A folder gives exactly the weights that plain transformers reads."""
    ours = load_checkpoint(checkpoint).encoder.state_dict()
    theirs = AutoModel.from_pretrained(checkpoint).state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_masters_are_float32(make_checkpoint, dtype):
    """Half-precision files are read as float32."""
    folder = make_checkpoint(dtype=dtype)
    stored = load_file(folder / "model.safetensors")
    assert {value.dtype for value in stored.values()} == {dtype}
    encoder = load_checkpoint(folder).encoder
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}


def test_reading_is_quiet(checkpoint, capfd):
    """No progress bar and no load report reaches the terminal."""
    load_checkpoint(checkpoint)
    assert capfd.readouterr() == ("", "")


def test_transformers_settings_are_restored(checkpoint):
    """The caller's verbosity and progress bars are as before."""
    from_before = (
        logging.get_verbosity(),
        logging.is_progress_bar_enabled(),
    )
    load_checkpoint(checkpoint)
    assert from_before == (
        logging.get_verbosity(),
        logging.is_progress_bar_enabled(),
    )


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_missing_file(make_checkpoint, name):
    """A folder without configuration or weights is named."""
    folder = make_checkpoint()
    (folder / name).unlink()
    with pytest.raises(DamagedCheckpointError, match=name.replace(".", r"\.")):
        load_checkpoint(folder)


def test_pickled_weights_are_refused(make_checkpoint):
    """A pytorch_model.bin could run code and is not read."""
    folder = make_checkpoint()
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(DamagedCheckpointError, match="could run code"):
        load_checkpoint(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_broken_file(make_checkpoint, name):
    """A broken file makes one error that names the folder."""
    folder = make_checkpoint()
    (folder / name).write_bytes(b'{"broken')
    with pytest.raises(DamagedCheckpointError, match=str(folder)):
        load_checkpoint(folder)


def test_missing_tensor(make_checkpoint):
    """Weights that lack a tensor of the encoder are not completed at random."""
    folder = make_checkpoint()
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DamagedCheckpointError, match=r"lack 1 .*layer\.1\.output"):
        load_checkpoint(folder)


def test_code_of_a_download_is_not_run(make_checkpoint, tmp_path):
    """A configuration that points to code of its own is refused, and nothing runs."""
    folder = make_checkpoint()
    witness = tmp_path / "was-run"
    (folder / "evil.py").write_text(f"open({str(witness)!r}, 'w')\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.EvilConfig"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(DamagedCheckpointError, match="cannot be read"):
        load_checkpoint(folder)
    assert not witness.exists()


def test_encoder_decoder_is_refused(make_checkpoint):
    """A checkpoint that is no encoder is named."""
    folder = make_checkpoint()
    config = AutoConfig.for_model(
        "t5", d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, vocab_size=70
    )
    AutoModel.from_config(config).save_pretrained(folder)
    with pytest.raises(CheckpointError, match="encoder-decoder"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        (RobertaConfig(max_position_embeddings=34, pad_token_id=1), 32),
        (MPNetConfig(max_position_embeddings=34, pad_token_id=1), 32),
        (DistilBertConfig(max_position_embeddings=33), 33),
        (ElectraConfig(max_position_embeddings=33), 33),
    ],
    ids=lambda value: getattr(value, "model_type", value),
)
def test_position_table_limits_the_length(make_checkpoint, config, limit):
    """RoBERTa and its kin lose the rows up to the padding index."""
    folder = make_checkpoint(max_length=10**30, pooling=None)
    config.update({"vocab_size": 70, "type_vocab_size": 1})
    for name in ("num_hidden_layers", "num_attention_heads"):
        setattr(config, name, 2)
    for name in ("hidden_size", "intermediate_size"):
        setattr(config, name, 32)
    AutoModel.from_config(config).save_pretrained(folder)
    found = load_checkpoint(folder)
    assert found.longest_length == found.trained_length == limit
    ids = torch.full((1, limit), 5)
    assert found.encoder(input_ids=ids).last_hidden_state.shape[1] == limit


@pytest.mark.parametrize(("asked", "given"), [(None, 64), (10, 10), (64, 64)])
def test_length_is_what_was_asked_for(checkpoint, asked, given):
    """`max_length` is taken as it is, and None is the checkpoint's limit."""
    assert load_checkpoint(checkpoint).text_tokenizer(asked).max_length == given


def test_length_beyond_the_position_table(checkpoint):
    """What cannot be read is refused with both numbers, not lowered."""
    with pytest.raises(ValueError, match="max_length is 1000, .* for 64 tokens"):
        load_checkpoint(checkpoint).text_tokenizer(1000)


def test_length_beyond_the_tokenizer_s_own_limit(make_checkpoint):
    """A tokenizer's limit is a default: `max_length` may go beyond it."""
    folder = make_checkpoint(max_length=16)
    found = load_checkpoint(folder)
    assert found.text_tokenizer(None).max_length == 16
    longer = found.text_tokenizer(40)
    assert longer.max_length == 40
    assert longer.config["model_max_length"] == 40


@pytest.mark.parametrize("limit", [0, -1, None])
@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("tokenizer_config.json", "model_max_length"),
        ("sentence_bert_config.json", "max_seq_length"),
    ],
)
def test_limits_that_are_none(make_checkpoint, file, name, limit):
    """0, -1 and null are no limit: the next one holds."""
    folder = make_checkpoint()
    path = folder / file
    values = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(values | {name: limit}))
    assert load_checkpoint(folder).text_tokenizer(None).max_length == 64


@pytest.mark.parametrize("limit", [2, 3])
def test_limit_that_leaves_no_room(make_checkpoint, limit):
    """A limit of special tokens alone would make all texts equal: it is refused."""
    folder = make_checkpoint(max_length=limit)
    with pytest.raises(DamagedCheckpointError, match=f"limit texts to {limit} tokens"):
        load_checkpoint(folder)


def test_tokenizer_without_a_limit(make_checkpoint):
    """A tokenizer file without the field (1e30) does not lift the model's limit."""
    folder = make_checkpoint(max_length=int(1e30))
    assert load_checkpoint(folder).text_tokenizer(None).max_length == 64


def test_trained_length_can_be_raised(make_checkpoint):
    """A checkpoint's own length is the default; max_length may go beyond it."""
    folder = make_checkpoint()
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 16}')
    found = load_checkpoint(folder)
    assert found.text_tokenizer(None).max_length == 16
    assert found.text_tokenizer(40).max_length == 40


def test_trained_pooler_is_used(make_checkpoint):
    """A BERT with a trained pooler and no sentence modules pools with it."""
    assert load_checkpoint(make_checkpoint(pooling=None)).pooling == "pooler"


def test_untrained_pooler_is_not_used(make_checkpoint):
    """A pooler that the file lacks would be random: the mean is taken."""
    folder = make_checkpoint(pooling=None)
    weights = load_file(folder / "model.safetensors")
    weights = {n: v for n, v in weights.items() if not n.startswith("pooler.")}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    found = load_checkpoint(folder)
    assert found.resolve_pooling("auto") == "mean"
    with pytest.raises(CheckpointError, match="no trained pooler"):
        found.resolve_pooling("pooler")


def test_dropout_is_set_everywhere(checkpoint):
    """One number sets every dropout of the encoder, and the head's."""
    found = load_checkpoint(checkpoint, dropout=0.37)
    rates = {m.p for m in found.encoder.modules() if isinstance(m, torch.nn.Dropout)}
    assert rates == {0.37}
    assert found.head_dropout == 0.37


def test_dropout_default_is_the_checkpoint_s(checkpoint):
    """None leaves the checkpoint's own dropout."""
    found = load_checkpoint(checkpoint)
    rates = {m.p for m in found.encoder.modules() if isinstance(m, torch.nn.Dropout)}
    assert rates == {0.1}
    assert found.head_dropout == 0.1


def test_path_objects_work(checkpoint):
    """A checkpoint may be a path object."""
    assert load_checkpoint(Path(checkpoint)).longest_length == 64


@pytest.fixture
def readings(monkeypatch):
    """Empty the cache of weights, and list the folders that weights are read from."""
    folders, read = [], _checkpoint.read_encoder
    monkeypatch.setattr(_checkpoint, "WEIGHTS", BoundedCache(2**30))

    def count(name, folder, *settings, **more):
        folders.append(folder)
        return read(name, folder, *settings, **more)

    monkeypatch.setattr(_checkpoint, "read_encoder", count)
    return folders


def test_weights_are_read_once(checkpoint, make_checkpoint, readings):
    """A process reads a folder's weights once, and another dropout's anew."""
    for shared in (False, True, False):
        load_checkpoint(checkpoint, shared=shared)
    load_checkpoint(Path(checkpoint))
    assert readings == [Path(checkpoint)]
    load_checkpoint(checkpoint, dropout=0.3)
    load_checkpoint(make_checkpoint())
    assert len(readings) == 3


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "1_Pooling/config.json"]
)
def test_a_changed_file_is_read_anew(make_checkpoint, readings, name):
    """A file that was written again since is noticed, be it of the same size."""
    folder = make_checkpoint()
    first = load_checkpoint(folder)
    path = folder / name
    stat = path.stat()
    if name == "model.safetensors":
        weights = {n: v + 1 for n, v in load_file(path).items()}
        save_file(weights, path, metadata={"format": "pt"})
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    second = load_checkpoint(folder)
    assert len(readings) == 2
    pairs = zip(first.encoder.parameters(), second.encoder.parameters(), strict=True)
    expected = 1.0 if name == "model.safetensors" else 0.0
    for before, after in pairs:
        torch.testing.assert_close(after - before, torch.full_like(before, expected))


def test_a_link_that_was_moved_is_read_anew(make_checkpoint, tmp_path, readings):
    """A link from one version to the next gives the next, though size and time agree.

    An image of a container and an archive may give all files one time.
    """
    versions = [make_checkpoint(), make_checkpoint()]
    path = versions[1] / "model.safetensors"
    weights = {n: v + 1 for n, v in load_file(path).items()}
    save_file(weights, path, metadata={"format": "pt"})
    for file in (file for version in versions for file in version.rglob("*")):
        os.utime(file, ns=(10**18, 10**18))
    latest, found = tmp_path / "latest", []
    for version in versions:
        latest.unlink(missing_ok=True)
        latest.symlink_to(version)
        found.append(load_checkpoint(latest))
    assert readings == versions
    pairs = zip(*(f.encoder.parameters() for f in found), strict=True)
    for before, after in pairs:
        torch.testing.assert_close(after - before, torch.ones_like(before))
    assert found[0].fingerprint() != found[1].fingerprint()


def test_a_file_put_in_place_with_its_old_time_is_read_anew(make_checkpoint, readings):
    """So is a file that was replaced, or written into, with size and time kept."""
    folder = make_checkpoint()
    path = folder / "model.safetensors"
    stat, bias = path.stat(), "embeddings.LayerNorm.bias"
    for value in range(3):
        content = load_bytes(path.read_bytes())
        content[bias][:] = value
        data = save_bytes(content, metadata={"format": "pt"})
        if value == 2:
            path.unlink()
        path.write_bytes(data)
        assert path.stat().st_size == stat.st_size
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        encoder = load_checkpoint(folder).encoder
        assert encoder.state_dict()[bias].unique().tolist() == [value]
    assert len(readings) == 3


def test_copies_are_independent(checkpoint):
    """What one does with its encoder, the next does not see."""
    first, second = load_checkpoint(checkpoint), load_checkpoint(checkpoint)
    before = {n: p.clone() for n, p in second.encoder.named_parameters()}
    with torch.no_grad():
        for parameter in first.encoder.parameters():
            parameter += 1
    first.encoder.train()
    first.encoder.config.hidden_size = 5
    third = load_checkpoint(checkpoint)
    for found in (second, third):
        for name, parameter in found.encoder.named_parameters():
            assert torch.equal(parameter, before[name])
            assert parameter.requires_grad
        assert not found.encoder.training
        assert found.encoder.config.hidden_size == 32


def test_the_shared_one_is_shared(checkpoint):
    """Readers get the same encoder, in evaluation mode, whose weights take no gradient.

    A copy made of it takes them again.
    """
    first, second = [load_checkpoint(checkpoint, shared=True) for _ in range(2)]
    assert first.encoder is second.encoder
    assert not first.encoder.training
    assert not any(p.requires_grad for p in first.encoder.parameters())
    copied = load_checkpoint(checkpoint).encoder
    assert copied is not first.encoder
    assert all(p.requires_grad for p in copied.parameters())
    assert not any(p.requires_grad for p in first.encoder.parameters())


def test_fingerprints_are_of_the_content(make_checkpoint):
    """Equal for equal weights and shape wherever they lie; else another one."""
    first, second = make_checkpoint(), make_checkpoint()
    fingerprint = load_checkpoint(first).fingerprint()
    assert load_checkpoint(second).fingerprint() == fingerprint
    assert load_checkpoint(second, dropout=0.3).fingerprint() == fingerprint

    weights = load_file(second / "model.safetensors")
    weights["embeddings.LayerNorm.bias"][3] += 1e-3
    save_file(weights, second / "model.safetensors", metadata={"format": "pt"})
    other = load_checkpoint(second).fingerprint()
    assert other != fingerprint

    config = json.loads((first / "config.json").read_text())
    config["layer_norm_eps"] = 1e-3
    (first / "config.json").write_text(json.dumps(config))
    assert load_checkpoint(first).fingerprint() not in (fingerprint, other)


def test_a_dangling_link_is_damage(make_checkpoint):
    """A link whose blob is gone from the Hub cache: the error names the folder."""
    folder = make_checkpoint()
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(folder / "blobs" / "gone")
    with pytest.raises(DamagedCheckpointError, match=str(folder)):
        load_checkpoint(folder)


@pytest.fixture
def write_family(tmp_path, checkpoint, make_encoder):
    """Write a checkpoint of a family with the tokenizer of the tiny BERT."""

    def write(family, **settings):
        tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        size = len(tokenizer)
        encoder = make_encoder(family, vocab_size=size, pad_token_id=0, **settings)
        encoder.save_pretrained(tmp_path / family)
        tokenizer.save_pretrained(tmp_path / family)
        return tmp_path / family

    return write


@pytest.mark.parametrize("family", ["fnet", "convbert", "nystromformer", "yoso"])
def test_families_that_read_padding_are_refused(write_family, family):
    """Where a vector would depend on the batch, the family is refused by name."""
    settings = {"embedding_size": 16} if family == "convbert" else {}
    folder = write_family(family, **settings)
    with pytest.raises(
        CheckpointError, match=f"family '{family}', in which the padding"
    ):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    "family", ["albert", "big_bird", "camembert", "ernie", "megatron-bert", "roformer"]
)
def test_families_that_leave_padding_out_are_read(write_family, family):
    """Whatever family leaves padding out is taken, known by its name or not."""
    settings = {"embedding_size": 16} if family == "albert" else {}
    assert load_checkpoint(write_family(family, **settings)).encoder.config


def test_decoder_is_not_read_from_its_first_token(make_checkpoint):
    """From left to right the first token has seen itself alone: the mean is taken."""
    folder = make_checkpoint(pooling=None)
    assert load_checkpoint(folder).pooling == "pooler"
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"is_decoder": True}))
    assert load_checkpoint(folder).pooling == "mean"


@pytest.mark.parametrize(
    "config",
    [
        XLNetConfig(d_model=16, n_layer=1, n_head=2, d_inner=16),  # no mask of bool
        BigBirdConfig(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, block_size=4
        ),  # other attention for long texts, until it has seen a short one
    ],
    ids=lambda config: config.model_type,
)
def test_families_with_ways_of_their_own(make_checkpoint, config):
    """Texts of unequal length get the vectors that they get alone, pickled as well."""
    folder = make_checkpoint(max_length=10**30, pooling=None)
    config.update({"vocab_size": 80})
    AutoModel.from_config(config).save_pretrained(folder)
    embedder = BertEmbedder(folder, device="cpu", precision="float32").fit(["a"])
    texts = ["the film was very good " * 12, "awful"]
    alone = np.concatenate([embedder.transform([text]) for text in texts])
    for model in (embedder, pickle.loads(pickle.dumps(embedder))):
        np.testing.assert_allclose(model.transform(texts), alone, atol=1e-5)
