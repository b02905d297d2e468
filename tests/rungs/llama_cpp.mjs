// Greedy text from a GGUF file by llama.cpp, as WebAssembly on Node.
// usage: node llama_cpp.mjs PACKAGES MODEL TOKENS PROMPT [ADAPTER]    prints the text that follows the prompt
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";

const [packages, model, tokens, prompt, adapter] = process.argv.slice(2);
globalThis.Worker ??= Worker;
globalThis.navigator ??= { hardwareConcurrency: 1 }; // Node has one from version 21 on
const { Llama } = await import(pathToFileURL(`${packages}/node_modules/@hpcc-js/wasm-llama/dist/index.js`));
const llama = await Llama.load();
const further = [];
if (adapter) {
    llama._module.FS_createDataFile("/", "adapter.gguf", new Uint8Array(readFileSync(adapter)), true, false, false);
    further.push("--lora", "/adapter.gguf");
}
const result = llama.main([
    "--log-disable", "--no-conversation", "--single-turn", "--no-display-prompt", "--no-warmup", "-t", "1", "-tb", "1", "-ctk", "f32", "-ctv", "f32",
    "--temp", "0", "--repeat-penalty", "1", "--ignore-eos", "-c", "512", "-n", tokens, "-p", prompt, ...further,
], new Uint8Array(readFileSync(model)));
process.stdout.write(result.stdout);
if (result.exitCode !== 0 || process.env.VERBOSE)
    process.stderr.write(result.stderr);
process.exit(result.exitCode);
