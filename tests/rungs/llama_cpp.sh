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

# Two small models of a text that never changes, so that what they say does not either.
cat LICENSE >"$work/pages.txt"
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
    same_text "$family, f32" "$work/$family" "$work/$family-f32.gguf" "Permission is"
    for dtype in f16 bf16 q8_0; do
        TOKENIZER=$work/tokenizer/tokenizer.json rounded_text "$family, $dtype" "$work/$family-$dtype.gguf" \
            "Permission is" "THE SOFTWARE IS" "furnished to do so" "IN NO EVENT SHALL"
    done
done

# Every other family and kind of rotary positions, with random weights so large that each token is another; fewer tokens, because
# such a model comes to a near tie soon.
tokens=24
more='"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 160'
scaled='"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 64'
random_model() { # NAME CLASS KEYS [SEED]
    if [ ! -e "$work/$1/checkpoints/last" ]; then
        rm -rf "${work:?}/$1"
        echo "{\"model\": {\"architectures\": [\"$2\"], \"vocab_size\": 600, \"max_position_embeddings\": 160, $more, $3}," \
            "\"data\": {\"train\": [\"$work/sh.bin\"], \"tokenizer\": \"$work/tokenizer\", \"seq_len\": 64}," \
            "\"train\": {\"steps\": 1, \"batch_size\": 1, \"lr\": 1e-9, \"seed\": ${4:-1}}}" >"$work/$1.json"
        "$trivium" pretrain --quiet --config "$work/$1.json" --out "$work/$1" 2>"$work/$1.log"
    fi
    "$trivium" export --quiet --model "$work/$1" --format gguf --out "$work/$1.gguf"
    same_text "$1" "$work/$1" "$work/$1.gguf" "Permission is"
    same_text "$1, read again" "$work/$1.gguf" "$work/$1.gguf" "Permission is"
}
random_model qwen2 Qwen2ForCausalLM '"initializer_range": 0.15'
random_model qwen3 Qwen3ForCausalLM '"initializer_range": 0.12, "head_dim": 32'
random_model gemma3 Gemma3ForCausalLM '"initializer_range": 0.3, "tie_word_embeddings": false, "head_dim": 32,
    "query_pre_attn_scalar": 32, "sliding_window": 16, "sliding_window_pattern": 3'
random_model llama3 LlamaForCausalLM "\"initializer_range\": 0.12, \"rope_theta\": 500000, \"rope_scaling\": {$scaled}"
random_model yarn LlamaForCausalLM '"initializer_range": 0.12,
    "rope_scaling": {"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 40}' 5
random_model linear LlamaForCausalLM '"initializer_range": 0.12, "rope_scaling": {"rope_type": "linear", "factor": 4}'

tokens=60
stories=${TRIVIUM_SHARED_DATA:-../shared/data}/stories260K
if [ -e "$stories/config.json" ]; then
    "$trivium" export --quiet --model "$stories" --format gguf --out "$work/stories.gguf"
    same_text "stories260K" "$stories" "$work/stories.gguf" "Once upon a time, there was"
    # An adapter with rsLoRA's scale, beside its base in llama.cpp.
    for name in Tom Ann Sam Zoe; do
        echo "{\"prompt\": \"Tell of $name: \", \"completion\": \"$name was a happy cat. The cat sat on a red mat and sang.\"}"
    done >"$work/cats.jsonl"
    if [ ! -e "$work/adapter/checkpoints/last" ]; then
        rm -rf "$work/adapter"
        "$trivium" sft --quiet --model "$stories" --data "$work/cats.jsonl" --out "$work/adapter" --set lora.rank=4 \
            --set lora.rslora=true --set train.steps=40 --set train.lr=5e-3 --set data.seq_len=64 2>"$work/adapter.log"
    fi
    "$trivium" export --quiet --model "$work/adapter" --format gguf-lora --out "$work/adapter.gguf"
    same_text "stories260K with its adapter" "$work/adapter" "$work/stories.gguf" "Tell of Tom: " "$work/adapter.gguf"
else
    skipped=$((skipped + 1))
    echo "SKIPPED stories260K: $stories is not there"
fi
finish
