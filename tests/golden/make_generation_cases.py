#!/usr/bin/env python3
"""Makes tests/text/data/generation_cases.json: ids and masks of assistant tokens as transformers gives them for chat templates with
{% generation %} (5.12.1; Debian's python3-transformers).

    tests/golden/make_generation_cases.py          from the repository's root
"""
import json
import pathlib
import tempfile

import transformers

data = pathlib.Path("tests/text/data")
names = {50256: "<|endoftext|>", 50257: "<|im_start|>", 50258: "<|im_end|>"}
added = [
    {"id": i, "content": name, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True} for i, name in names.items()
]
byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True}
turns = "{%% for m in messages %%}%s{%% endfor %%}"
chatml = "{{ '<|im_start|>' + m.role + '\\n' }}"
templates = {
    "answer and end": turns % (chatml + "{% if m.role == 'assistant' %}{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}{{ '\\n' }}"
                               "{% else %}{{ m.content + '<|im_end|>\\n' }}{% endif %}"),
    "with the newline, lines stripped": turns % ("{%- if m.role == 'assistant' %}\n    {{- '<|im_start|>assistant\\n' }}\n    {%- generation %}\n"
                                                 "        {{- m.content + '<|im_end|>\\n' }}\n    {%- endgeneration %}\n{%- else %}\n"
                                                 "    {{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}\n{%- endif %}\n"),
    "the header too": turns % ("{% if m.role == 'assistant' %}{% generation %}{{ '<|im_start|>assistant\\n' + m.content + '<|im_end|>' }}"
                               "{% endgeneration %}{% else %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>' }}{% endif %}"),
    "the last turn alone": turns % (chatml + "{% if m.role == 'assistant' and loop.last %}{% generation %}{{ m.content }}{% endgeneration %}"
                                    "{% else %}{{ m.content }}{% endif %}{{ '<|im_end|>' }}"),
    "from the middle of a word": turns % (chatml + "{% if m.role == 'assistant' %}{{ 'wor' }}{% generation %}{{ 'ld ' + m.content + ' th' }}{% endgeneration %}"
                                          "{{ 'ese<|im_end|>' }}{% else %}{{ m.content }}{% endif %}"),
    "two blocks in a turn": turns % (chatml + "{% if m.role == 'assistant' %}{% generation %}{{ '<think>\\n' }}{% endgeneration %}{{ 'skipped' }}"
                                     "{% generation %}{{ m.content | trim }}<|im_end|>{% endgeneration %}{% else %}{{ m.content }}{% endif %}"),
    "nothing": turns % (chatml + "{% if m.role == 'other' %}{% generation %}{{ m.content }}{% endgeneration %}{% endif %}{{ m.content + '<|im_end|>' }}"),
}
contents = ["hi", " two  spaces ", "\n\nlines\n", "caf\u00e9 \u65e5\u672c", "", "1984, <think>"]
conversations = [[["user", text], ["assistant", text or "yo"], ["user", "and then"], ["assistant", "It was so. " + text]] for text in contents]


def main():
    base = json.loads((data / "gpt2" / "tokenizer.json").read_text())
    base |= {"pre_tokenizer": byte_level, "added_tokens": added}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(base, file)
        file.flush()
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=file.name, eos_token=names[50258])
    # The library numbers added tokens by the size of the vocabulary, which has some of GPT-2's ids and not these.
    told = {tokenizer.convert_tokens_to_ids(name): i for i, name in names.items()}
    assert not set(told) & set(base["model"]["vocab"].values()) - {50256}
    out = []
    for name, template in templates.items():
        for i, conversation in enumerate(conversations):
            messages = [{"role": role, "content": content} for role, content in conversation]
            got = tokenizer.apply_chat_template(messages, chat_template=template, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
            mask = got["assistant_masks"]
            # Of a last letter in several tokens it marks the first alone; the others belong to it.
            offsets = got.encodings[0].offsets
            for k in range(1, len(mask)):
                mask[k] |= mask[k - 1] and offsets[k] == offsets[k - 1]
            ids = [told.get(i, i) for i in got["input_ids"]]
            case = {"name": name, "messages": messages, "prompt": False, "ids": ids, "trained": mask}
            out.append(case if i else {"changes": {"pre_tokenizer": byte_level, "added_tokens": added}, "template": template, **case})
    lines = ",\n".join(json.dumps(case, ensure_ascii=True, separators=(",", ":")) for case in out)
    (data / "generation_cases.json").write_text(f"[\n{lines}\n]\n")


main()
