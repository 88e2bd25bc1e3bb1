"""Random tiny bases for the soak test: a directory as a Hugging Face user may have it, of any shape that BERT allows."""

import torch
from transformers import (AutoTokenizer, BertConfig, BertForMaskedLM, BertForPreTraining, BertForQuestionAnswering,
                          BertForSequenceClassification, BertForTokenClassification, BertModel, BertTokenizerFast)

from common import perturb, read_json, write_json
from vocab import added_token, build_vocab, tokenizer_json, write_tokenizer

ACTIVATIONS = ("gelu", "gelu", "relu", "gelu_new", "silu", "swish", "gelu_fast", "quick_gelu", "gelu_pytorch_tanh", "tanh", "mish")
MODELS = (BertModel, BertModel, BertModel, BertForMaskedLM, BertForPreTraining, BertForSequenceClassification,
          BertForTokenClassification, BertForQuestionAnswering)
DTYPES = (torch.float32, torch.float32, torch.float16, torch.bfloat16)


def random_config(rng, vocabulary):
    heads = rng.choice([1, 2, 3, 4, 5, 6, 7, 8])
    width = rng.choice([width for width in (5, 8, 11, 12, 16, 20, 24, 32) if 30 <= heads * width <= 96])
    return BertConfig(
        vocab_size=vocabulary + rng.choice([0, 0, 1, 13]), hidden_size=heads * width, num_attention_heads=heads,
        num_hidden_layers=rng.choice([1, 1, 2, 3, 4]), intermediate_size=rng.choice([17, 32, 50, 76, 100, 129, 192]),
        max_position_embeddings=rng.choice([33, 48, 64, 80]), type_vocab_size=rng.choice([1, 2, 2, 2, 3]),
        hidden_act=rng.choice(ACTIVATIONS), layer_norm_eps=rng.choice([1e-12, 1e-12, 1e-7, 1e-5, 1e-3]))


def random_added(rng, vocab):
    """Added tokens with every option, new and from the vocabulary."""
    pool = ["[NEW]", "<user>", "don't", "Café", "New York", "ab", "abc", "the", "人", "é", "[MASK]x", "x y", "##s", "Ünï", "A",
            "[unused1]"]
    known = {token: index for index, token in enumerate(vocab)}
    tokens, following = [], len(vocab)
    for content in rng.sample(pool, rng.randint(0, 5)):
        flag = lambda share: rng.random() < share
        number = known.get(content, following)
        following += content not in known
        tokens.append(added_token(number, content, special=flag(0.4), lstrip=flag(0.3), rstrip=flag(0.3), single_word=flag(0.3),
                                  normalized=flag(0.5)))
    return sorted(tokens, key=lambda token: token["id"])


def random_options(rng, vocab):
    """tokenizer_config.json as hands and old libraries write it, at odds with tokenizer.json, and the files that stood beside it once."""
    maybe = lambda share, **items: items if rng.random() < share else {}
    flags = lambda: {key: rng.random() < 0.3 for key in ("lstrip", "rstrip", "single_word", "normalized")}
    classes = ["BertTokenizer", "BertTokenizerFast", "BertTokenizer", "PreTrainedTokenizerFast", "DistilBertTokenizer",
               "ElectraTokenizerFast"]
    settings = {
        **maybe(0.8, tokenizer_class=rng.choice(classes)), **maybe(0.7, do_lower_case=rng.random() < 0.5),
        **maybe(0.5, strip_accents=rng.choice([None, True, False])), **maybe(0.5, tokenize_chinese_chars=rng.random() < 0.5),
        **maybe(0.3, model_max_length=rng.choice([20, 48, 512, int(1e30)])), **maybe(0.2, do_basic_tokenize=rng.random() < 0.5),
        **maybe(0.2, never_split=["abc", "[NEW]"]), **maybe(0.2, clean_up_tokenization_spaces=True), **maybe(0.1, padding_side="left"),
        **maybe(0.6, unk_token="[UNK]", sep_token="[SEP]", pad_token="[PAD]", cls_token="[CLS]", mask_token="[MASK]"),
        **maybe(0.15, mask_token={"__type": "AddedToken", "content": "[MASK]", **flags()}),
        **maybe(0.1, bos_token="[CLS]"), **maybe(0.1, eos_token="<eos>"), **maybe(0.1, mask_token=None),
        **maybe(0.25, additional_special_tokens=rng.sample(["<e1>", "</e1>", "the", "[NEW]"], rng.randint(1, 2)))}
    files = {}
    extra = rng.sample(["<x>", "New York", "don't", "é", "Straße", "[NEW]", "abc"], rng.randint(0, 3))
    new = [token for token in extra if token not in vocab]
    if rng.random() < 0.4:
        decoder = {str(vocab.index(token)): {"content": token, **flags(), "normalized": False, "special": True}
                   for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")}
        decoder |= {str(len(vocab) + i): {"content": token, **flags(), "special": rng.random() < 0.4} for i, token in enumerate(new)}
        settings["added_tokens_decoder"] = decoder
    elif rng.random() < 0.5:
        files["added_tokens.json"] = {token: len(vocab) + i for i, token in enumerate(new)}
    if rng.random() < 0.3:
        files["special_tokens_map.json"] = {"cls_token": "[CLS]", "sep_token": rng.choice(["[SEP]", {"content": "[SEP]", **flags()}]),
                                            **maybe(0.3, additional_special_tokens=["<e2>"])}
    return settings, files


def random_tokenizer(rng, directory, vocab):
    """Returns how many ids it uses."""
    if rng.random() < 0.35:
        options = dict(lowercase=rng.random() < 0.5, strip_accents=rng.choice([None, True, False]), chinese=rng.random() < 0.7,
                       clean=rng.random() < 0.8, added=random_added(rng, vocab) if rng.random() < 0.3 else [], template=rng.random() < 0.7)
        write_tokenizer(directory, vocab, None, **options)
        settings, files = random_options(rng, vocab)
        for name, content in {"tokenizer_config.json": settings, **files}.items():
            write_json(directory / name, content)
        (directory / rng.choice(["tokenizer.json", "vocab.txt", "vocab.txt"])).unlink()
        write_json(directory / "config.json", {"model_type": "bert"})
        return len(AutoTokenizer.from_pretrained(directory))
    options = dict(lowercase=rng.random() < 0.6, strip_accents=rng.choice([None, None, True, False]),
                   chinese=rng.random() < 0.8)
    length = rng.choice([None, 20, 31, 40, 512])
    form = rng.choice(["written", "written", "json", "vocab.txt", "saved"])
    used = len(vocab)
    if form == "vocab.txt":
        ending = rng.choice(["\n", "\n", ""])
        (directory / "vocab.txt").write_text("\n".join(vocab) + ending, encoding="utf-8")
        settings = {"do_lower_case": options["lowercase"], "tokenizer_class": "BertTokenizer"}
        if rng.random() < 0.5:
            settings.update(strip_accents=options["strip_accents"], tokenize_chinese_chars=options["chinese"])
        if length:
            settings["model_max_length"] = length
        if rng.random() < 0.8:
            write_json(directory / "tokenizer_config.json", settings)
        return used
    if form == "saved":
        (directory / "vocab.txt").write_text("\n".join(vocab) + "\n", encoding="utf-8")
        tokenizer = BertTokenizerFast(str(directory / "vocab.txt"), do_lower_case=options["lowercase"],
                                      strip_accents=options["strip_accents"], tokenize_chinese_chars=options["chinese"],
                                      **({"model_max_length": length} if length else {}))
        if rng.random() < 0.4:
            tokenizer.add_tokens(rng.sample(["<user>", "Newer", "x1y"], rng.randint(1, 2)), special_tokens=rng.random() < 0.5)
        if rng.random() < 0.2:
            tokenizer.add_special_tokens({"additional_special_tokens": ["<e>", "</e>"]})
        tokenizer.save_pretrained(directory)
        return len(tokenizer)
    added = random_added(rng, vocab) if rng.random() < 0.6 else []
    options.update(clean=rng.random() < 0.8, added=added, template=rng.random() < 0.7, max_chars=rng.choice([100, 100, 6]))
    write_tokenizer(directory, vocab, length, **options)
    if form == "json":
        (directory / "vocab.txt").unlink()
        if rng.random() < 0.3:
            (directory / "tokenizer_config.json").unlink()
    return max([used, *(token["id"] + 1 for token in added)])


def random_base(rng, directory, name):
    """Writes a base directory; returns its configuration and the class that it was saved from."""
    directory.mkdir(parents=True)
    vocab = build_vocab(rng.choice([20, 80, 200]), rng.choice([5, 40]), rng.random() < 0.7)
    used = random_tokenizer(rng, directory, vocab)
    config = random_config(rng, used)
    kind = rng.choice(MODELS)
    if kind in (BertForSequenceClassification, BertForTokenClassification):
        config.num_labels = rng.choice([2, 3])
        config.id2label = {i: f"base{i}" for i in range(config.num_labels)}
        config.label2id = {f"base{i}": i for i in range(config.num_labels)}
    model = kind(config, add_pooling_layer=False) if kind is BertModel and rng.random() < 0.25 else kind(config)
    perturb(model.named_parameters(), f"base/{name}")
    for module in model.modules():  # a random Q K product saturates softmax: trained models' scores are of the order 1
        if hasattr(module, "query"):
            module.query.weight.data.mul_(0.6)
    dtype = rng.choice(DTYPES)
    shard = {"max_shard_size": "60KB"} if rng.random() < 0.25 else {}
    model.to(dtype).save_pretrained(directory, **shard)
    settings = read_json(directory / "config.json")
    settings.pop("_name_or_path", None)
    write_json(directory / "config.json", settings)
    return config, kind, dtype
