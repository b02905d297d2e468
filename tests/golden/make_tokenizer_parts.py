#!/usr/bin/env python3
"""Makes tests/text/data/metaspace/tokenizer.json and tests/text/data/parts_cases.json with Hugging Face tokenizers, the library in
Rust whose files runtime/text reads (0.23.1; Debian's python3-tokenizers).

    tests/golden/make_tokenizer_parts.py          from the repository's root

A case is one of the two bases (metaspace, gpt2) with some of its members replaced ("model" member by member); for each text it has the ids
and the text that is decoded from them.
"""
import json
import pathlib

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, trainers

data = pathlib.Path("tests/text/data")
SIGN = "\u2581"
texts = [
    "Hello, world!", "  two  spaces   three ", " lead", "\t\ttabs\n\nnewlines\r\n", "In 1984 there were 31,415 of 4x4; ½ ² ٣٤", "naïve café Straße İI ΑΣ ǅ",
    "cafe\u0301 ﬁ Å", "日本語、東京。", "👩‍👧 🤖!", "snake_case a.b!?c ++x--", "a b\u3000c\u00a0", "aXXbXcXXX", "X", " ", f"{SIGN}a{SIGN}{SIGN} b", "<0x41> nul\u0001",
    "the the  <t> the<t>  <t> <n>x<n> <w>the <w> a<w>b <Big>  <big> BIG <s>a</s> </s>", "Call me Ishmael. Some years ago",
]


def step(kind, **members):
    return {"type": kind, **members}


def sequence(key, *steps):
    return {"type": "Sequence", key: list(steps)}


def train():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SIGN), normalizers.Replace(" ", SIGN)])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SIGN, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=special, show_progress=False, limit_alphabet=60)
    # Words, and lines with runs of spaces: some tokens join words and signs.
    lines = (data / "excerpt.txt").read_text().splitlines()
    tokenizer.train_from_iterator([word for line in lines for word in line.split()] * 2 + lines + ["    x", "  y"] * 40, trainer)
    whole = json.loads(tokenizer.to_str())
    whole["added_tokens"] = whole["added_tokens"][:3]
    return whole


def added(content, token_id, **flags):
    every = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    return {"id": token_id, "content": content, **every, **flags}


metaspace = train()
gpt2 = json.loads((data / "gpt2" / "tokenizer.json").read_text())
replace = step("Replace", pattern={"String": " "}, content=SIGN)
prepend = step("Prepend", prepend=SIGN)
byte_level = step("ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=False)
merges = [merge if isinstance(merge, list) else merge.split(" ") for merge in metaspace["model"]["merges"]]
flags = metaspace["added_tokens"] + [
    added("<t>", 700, lstrip=True), added("<n>", 701, rstrip=True), added("<w>", 702, single_word=True), added("<Big>", 703, normalized=True, special=True),
    added("the", 704, single_word=True, normalized=True),
]
plain = step("Sequence", decoders=[step("Replace", pattern={"String": SIGN}, content=" "), step("ByteFallback"), step("Fuse")])
variants = [
    ("metaspace", "llama 2", {}),
    ("metaspace", "gemma", {"normalizer": replace, "decoder": plain,
                            "pre_tokenizer": step("Split", pattern={"String": " "}, behavior="MergedWithPrevious", invert=False)}),
    ("metaspace", "split at spaces", {"normalizer": None, "pre_tokenizer": step("Split", pattern={"String": " "}, behavior="MergedWithPrevious", invert=False)}),
    ("metaspace", "merges as strings", {"model": {"merges": [" ".join(merge) for merge in merges]}}),
    ("metaspace", "ignore merges", {"model": {"ignore_merges": True, "merges": merges[::2]}, "normalizer": None, "pre_tokenizer": step("WhitespaceSplit")}),
    ("metaspace", "unknown, fused", {"model": {"byte_fallback": False}}),
    ("metaspace", "unknown, each", {"model": {"byte_fallback": False, "fuse_unk": False}}),
    ("metaspace", "unknown, none", {"model": {"byte_fallback": False, "unk_token": None}}),
    ("metaspace", "added tokens", {"added_tokens": flags}),
    ("metaspace", "added tokens, small letters", {"added_tokens": flags, "normalizer": sequence("normalizers", step("Lowercase"), prepend, replace)}),
    ("metaspace", "nfkc, small letters, strip", {"normalizer": sequence("normalizers", step("NFKC"), step("Lowercase"), step("Strip", strip_left=True, strip_right=True), prepend, replace)}),
    ("metaspace", "strip left", {"normalizer": sequence("normalizers", step("Strip", strip_left=True, strip_right=False), replace)}),
    ("metaspace", "replace by a pattern", {"normalizer": sequence("normalizers", step("Replace", pattern={"Regex": "\\s{2,}|X+"}, content="$1 "), sequence("normalizers", step("NFD"), replace))}),
    ("metaspace", "decoder strips both ends", {"decoder": sequence("decoders", step("Replace", pattern={"String": SIGN}, content=" "), step("ByteFallback"), step("Fuse"), step("Strip", content=" ", start=2, stop=1))}),
    ("metaspace", "whitespace", {"normalizer": None, "pre_tokenizer": step("Whitespace")}),
]
for scheme in ("always", "first", "never"):
    for split in (True, False):
        members = {"replacement": SIGN, "prepend_scheme": scheme, "split": split}
        variants.append(("metaspace", f"metaspace {scheme} {split}", {
            "added_tokens": flags, "normalizer": None, "pre_tokenizer": step("Metaspace", **members), "decoder": sequence("decoders", step("Metaspace", **members), step("ByteFallback"), step("Fuse"))}))
variants.append(("metaspace", "metaspace of old", {"normalizer": None, "pre_tokenizer": step("Metaspace", replacement=SIGN, add_prefix_space=True), "decoder": step("Metaspace", replacement=SIGN, add_prefix_space=True)}))
for behavior in ("Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
    for invert in (False, True):
        variants.append(("gpt2", f"split {behavior} {invert}", {"pre_tokenizer": sequence("pretokenizers", step("Split", pattern={"Regex": "X|[aeiou]"}, behavior=behavior, invert=invert), byte_level)}))
    variants.append(("gpt2", f"punctuation {behavior}", {"pre_tokenizer": sequence("pretokenizers", step("Punctuation", behavior=behavior), byte_level)}))
variants.append(("gpt2", "split at nothing", {"pre_tokenizer": sequence("pretokenizers", step("Split", pattern={"Regex": "x*|(?=\\d)"}, behavior="Isolated", invert=False), byte_level)}))
variants.append(("gpt2", "split at words", {"pre_tokenizer": sequence("pretokenizers", step("Split", pattern={"Regex": "^\\w+|\\W$"}, behavior="Removed", invert=False), byte_level)}))
for individual in (True, False):
    variants.append(("gpt2", f"digits {individual}", {"pre_tokenizer": sequence("pretokenizers", step("Digits", individual_digits=individual), byte_level)}))

cases = []
for base, name, changes in variants:
    whole = json.loads(json.dumps(metaspace if base == "metaspace" else gpt2))
    for key, value in changes.items():
        whole[key] = {**whole["model"], **value} if key == "model" else value
    tokenizer = Tokenizer.from_str(json.dumps(whole))
    outputs = []
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        try:
            decoded = tokenizer.decode(ids, skip_special_tokens=False).encode().hex()
        except BaseException:  # a panic where both ends are stripped of the same character
            decoded = None
        outputs.append({"hex": text.encode().hex(), "ids": ids, "decoded": decoded})
    cases.append({"base": base, "name": name, "changes": changes, "texts": outputs})
(data / "metaspace").mkdir(exist_ok=True)
(data / "metaspace" / "tokenizer.json").write_text(json.dumps(metaspace, ensure_ascii=False) + "\n")
(data / "parts_cases.json").write_text("[" + ",\n".join(json.dumps(case) for case in cases) + "]\n")
