# Sourced by the rungs that compare texts with llama.cpp's, behind lib.sh: llama.cpp as WebAssembly on Node (nothing is installed
# outside build/rungs), and the comparison. The rung sets $trivium.
# shellcheck shell=bash disable=SC2154 # work, trivium, rung, passed, failed are of lib.sh and the rung

packages=$PWD/build/rungs/llama_packages tokens=60

llama_ready() { # skips the rung where llama.cpp cannot be had
    need_node 20
    patiently npm install --silent --no-fund --no-audit --prefix "$packages" @hpcc-js/wasm-llama@1.6.1 >"$work/npm.log" 2>&1 ||
        skip_rung "npm install failed: $(head -n 1 "$work/npm.log")"
}

# llama.cpp is asked for some tokens more: it keeps the last ones back until they are whole characters. Bytes that are no text
# are compared as the sign that stands for them.
both_texts() { # MODEL GGUF PROMPT [ADAPTER-GGUF]: $work/here, JSON with the generated part alone, and $work/there
    "$trivium" generate --quiet --json --model "$1" --temperature 0 --max-tokens $tokens --prompt "$3" >"$work/here" || true
    node tests/rungs/llama_cpp.mjs "$packages" "$2" $((tokens + 8)) "$3" ${4:+"$4"} >"$work/there" 2>"$work/llama.log" || true
}

texts_differ() { # WHAT
    failed=$((failed + 1))
    echo "FAILED $rung: $1"
    echo "  here:      $(head -c 400 "$work/here")"
    echo "  llama.cpp: $(head -c 400 "$work/there" | tr -d '\000')"
    tail -c 300 "$work/llama.log"
}

same_text() { # WHAT MODEL GGUF PROMPT [ADAPTER-GGUF]
    both_texts "${@:2}"
    if node -e '
        const [here, there] = process.argv.slice(1).map((path) => require("fs").readFileSync(path, "utf8"));
        const clean = (text) => text.replaceAll("\0", "");
        const text = clean(JSON.parse(here).text).trimEnd().replace(/\uFFFD+$/, "");
        process.exit(text.length > 20 && clean(there).startsWith(text) ? 0 : 1)' "$work/here" "$work/there"; then
        passed=$((passed + 1))
        say "$1: the same $tokens tokens"
    else
        texts_differ "$1"
    fi
}

# For files in 16 bits, with which llama.cpp rounds what it multiplies too, so that a near tie may turn: over several prompts the texts
# part only where the model's own choice has less than 0.6 (another token is 0.4 nats behind at least: rounding to bf16 moves logits of
# about 10 by some hundredths), and a quarter of all tokens come before a parting. A type that is written wrongly says something else at once.
rounded_text() { # WHAT GGUF PROMPT...
    local what=$1 gguf=$2 prompt found compared=0
    for prompt in "${@:3}"; do
        both_texts "$gguf" "$gguf" "$prompt"
        found=$(node -e '
            const [here, there] = process.argv.slice(1).map((path) => require("fs").readFileSync(path, "utf8"));
            const answer = JSON.parse(here);
            // A token of these models is a character or more, and ASCII: its place in the text is known where each is one of the tokenizer.
            const vocab = JSON.parse(require("fs").readFileSync(process.env.TOKENIZER, "utf8")).model.vocab;
            const pieces = Object.fromEntries(Object.entries(vocab).map(([piece, id]) => [id, piece.replaceAll("\u0120", " ").replaceAll("\u010a", "\n")]));
            let text = "", same = 0;
            for (; same < answer.ids.length && there.startsWith(text + pieces[answer.ids[same]]); same++)
                text += pieces[answer.ids[same]];
            const sure = same < answer.ids.length && answer.logprobs[same] >= Math.log(0.6);
            process.stdout.write(sure ? "sure" : String(same))' "$work/here" "$work/there") || found=unread
        case $found in
        sure | unread | '')
            texts_differ "$what"
            return 0
            ;;
        esac
        compared=$((compared + found))
    done
    if [ $((4 * compared)) -lt $((tokens * ($# - 2))) ]; then
        echo "only $compared tokens came before a parting"
        texts_differ "$what"
        return 0
    fi
    passed=$((passed + 1))
    say "$what: $compared of $((tokens * ($# - 2))) tokens the same, none of them parted from where the model is sure"
}
