#!/usr/bin/env bash
# What trivium exports as GGUF says in llama.cpp what it says here: greedy texts of models trained here, of both families, in
# every type, and of the published model in ../shared/data/stories260K where that is there.
# Needs: node 20 or newer and npm, which bring llama.cpp as WebAssembly.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=llama_texts.sh
. "$(dirname "$0")/llama_texts.sh"

tools/setup.sh
llama_ready
build release trivium_command
trivium=$PWD/build/bin/trivium

# Two small models of the repository's own pages.
cat docs/*.md >"$work/pages.txt"
if [ ! -e "$work/sh.bin" ]; then
    "$trivium" tokenizer train --quiet --input "$work/pages.txt" --vocab-size 600 --out "$work/tokenizer"
    "$trivium" data pack --quiet --tokenizer "$work/tokenizer" --input "$work/pages.txt" --out "$work/sh"
fi
for family in llama gpt2; do
    class=LlamaForCausalLM
    sizes='"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 160'
    if [ $family = gpt2 ]; then
        class=GPT2LMHeadModel
        sizes='"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 160'
    fi
    if [ ! -e "$work/$family/checkpoints/last" ]; then
        rm -rf "${work:?}/$family"
        echo "{\"model\": {\"architectures\": [\"$class\"], \"vocab_size\": 600, $sizes}," \
            "\"data\": {\"train\": [\"$work/sh.bin\"], \"tokenizer\": \"$work/tokenizer\", \"seq_len\": 64}," \
            '"train": {"steps": 120, "batch_size": 8, "lr": 3e-3}}' >"$work/$family.json"
        "$trivium" pretrain --quiet --config "$work/$family.json" --out "$work/$family"
    fi
    for dtype in f32 f16 bf16 q8_0; do
        "$trivium" export --quiet --model "$work/$family" --format gguf --dtype $dtype --out "$work/$family-$dtype.gguf"
    done
    same_text "$family, f32" "$work/$family" "$work/$family-f32.gguf" "The tokenizer"
    for dtype in f16 bf16 q8_0; do # rounded weights may turn a near tie: they are compared with themselves
        same_text "$family, $dtype" "$work/$family-$dtype.gguf" "$work/$family-$dtype.gguf" "The tokenizer"
    done
done

stories=${TRIVIUM_SHARED_DATA:-../shared/data}/stories260K
if [ -e "$stories/config.json" ]; then
    "$trivium" export --quiet --model "$stories" --format gguf --out "$work/stories.gguf"
    same_text "stories260K" "$stories" "$work/stories.gguf" "Once upon a time, there was"
else
    skipped=$((skipped + 1))
    echo "SKIPPED stories260K: $stories is not there"
fi
finish
