# Sourced by the rungs that compare texts with llama.cpp's, behind lib.sh: llama.cpp as WebAssembly on Node (nothing is installed
# outside build/rungs), and the comparison. The rung sets $trivium.
# shellcheck shell=bash disable=SC2154 # work, trivium, rung, passed, failed are of lib.sh and the rung

packages=$PWD/build/rungs/llama_packages tokens=60

llama_ready() { # skips the rung where llama.cpp cannot be had
    local program
    for program in node npm; do
        command -v $program >/dev/null || skip_rung "$program is not installed"
    done
    case $(node --version) in
    v[0-9].* | v1[0-9].*) skip_rung "node $(node --version) is older than 20" ;;
    esac
    npm install --silent --no-fund --no-audit --prefix "$packages" @hpcc-js/wasm-llama@1.6.1 >"$work/npm.log" 2>&1 ||
        skip_rung "npm install failed: $(head -n 1 "$work/npm.log")"
}

# llama.cpp is asked for some tokens more: it keeps the last ones back until they are whole characters. Bytes that are no text
# are compared as the sign that stands for them.
same_text() { # WHAT MODEL GGUF PROMPT [ADAPTER-GGUF]
    "$trivium" generate --quiet --model "$2" --temperature 0 --max-tokens $tokens --prompt "$4" >"$work/here" || true
    node tests/rungs/llama_cpp.mjs "$packages" "$3" $((tokens + 8)) "$4" ${5:+"$5"} >"$work/there" 2>"$work/llama.log" || true
    if node -e '
        const [here, there, prompt] = process.argv.slice(1);
        const read = (path) => require("fs").readFileSync(path, "utf8").replaceAll("\0", "");
        const text = read(here).slice(prompt.length).trimEnd().replace(/\uFFFD+$/, "");
        process.exit(text.length > 20 && read(there).startsWith(text) ? 0 : 1)' "$work/here" "$work/there" "$4"; then
        passed=$((passed + 1))
        say "$1: the same $tokens tokens"
    else
        failed=$((failed + 1))
        echo "FAILED $rung: $1"
        echo "  here:      $(head -c 400 "$work/here" | tr -d '\000')"
        echo "  llama.cpp: $(head -c 400 "$work/there" | tr -d '\000')"
        tail -c 300 "$work/llama.log"
    fi
}
