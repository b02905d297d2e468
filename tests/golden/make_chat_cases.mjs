// Makes tests/text/data/chat_cases.json: conversations rendered by @huggingface/jinja and encoded by @huggingface/tokenizers,
// with the masks that follow from where each token lies in the rendered text.
//
//   npm install --prefix PACKAGES @huggingface/tokenizers@0.2.0 @huggingface/jinja@0.5.11
//   node tests/golden/make_chat_cases.mjs PACKAGES
import fs from 'node:fs';
import {createRequire} from 'node:module';
import path from 'node:path';

const require = createRequire(path.resolve(process.argv[2], 'node_modules', 'x.js'));
const {Tokenizer} = require('@huggingface/tokenizers');
const {Template} = require('@huggingface/jinja');
const data = path.join(import.meta.dirname, '..', 'text', 'data');
const base = JSON.parse(fs.readFileSync(path.join(data, 'gpt2', 'tokenizer.json'), 'utf8'));

const llama3 = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const byteLevel = (prefix, regex) => ({type: 'ByteLevel', add_prefix_space: prefix, trim_offsets: true, use_regex: regex});
const split = pattern => ({type: 'Sequence', pretokenizers: [{type: 'Split', pattern: {Regex: pattern}, behavior: 'Isolated', invert: false}, byteLevel(false, false)]});
const names = {50256: '<|endoftext|>', 50257: '<|im_start|>', 50258: '<|im_end|>', 50259: '<|begin_of_text|>', 50260: '<|start_header_id|>', 50261: '<|end_header_id|>', 50262: '<|eot_id|>'};
const added = (flags = {}) => Object.entries(names).map(([id, content]) => ({id: +id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true, ...flags[content]}));

const chatml = {
  jinja: "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
  header: '<|im_start|>assistant\n', end: 50258, content: text => text,
};
const llama = {
  jinja: "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
  header: '<|start_header_id|>assistant<|end_header_id|>\n\n', end: 50262, content: text => text.trim(),
};
const variants = [
  {name: 'qwen', template: chatml, changes: {normalizer: {type: 'NFC'}, pre_tokenizer: split(llama3.replace('\\p{N}{1,3}', '\\p{N}')), added_tokens: added()}},
  {name: 'gpt2', template: chatml, changes: {added_tokens: added()}},
  {name: 'prefix space', template: chatml, changes: {pre_tokenizer: byteLevel(true, true), added_tokens: added()}},
  {name: 'whole text', template: chatml, changes: {pre_tokenizer: byteLevel(false, false), added_tokens: added()}},
  {name: 'strips', template: chatml, changes: {pre_tokenizer: split(llama3), added_tokens: added({'<|im_end|>': {lstrip: true, rstrip: true}})}},
  {name: 'llama 3', template: llama, changes: {pre_tokenizer: split(llama3), added_tokens: added()}},
];
const contents = ['hi', '\nHi', '\n\nHi', '\n', '', '  two  spaces', ' \n \n', '\t\ttabs', '\r\nx', 'trailing \n', '  \n', 'cafe\u0301', '\u0301x', 'x\u00a0', '1984\n\n'];
const conversations = contents.flatMap(text => [
  [['user', text], ['assistant', text || 'yo'], ['user', 'a'], ['assistant', 'so']],
  [['system', text], ['user', 'the'], ['assistant', 'it'], ['user', text]],
]).map(turns => turns.map(([role, content]) => ({role, content})));

const bytes = text => Buffer.from(text, 'utf8');
const unspell = new Map([...Array(256).keys()].filter(b => !((b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174)).map((b, i) => [String.fromCodePoint(256 + i), b]));
const tokenBytes = (id, token) => names[id] ? bytes(names[id]) : Buffer.from([...token].map(c => unspell.get(c) ?? c.codePointAt(0)));

// Walks through the rendered bytes: a token may have a space in front that the text has not, and the text blanks that no token has.
function mask({ids, tokens}, text, answers) {
  let at = 0;
  return ids.map((id, i) => {
    let token = tokenBytes(id, tokens[i]);
    const here = () => text.subarray(at, at + token.length).equals(token);
    if (!here() && token[0] === 32) { token = token.subarray(1); if (!here()) token = tokenBytes(id, tokens[i]); }
    while (!here() && ' \t\r\n\xc2\xa0'.includes(String.fromCharCode(text[at]))) at++;
    if (!here()) throw new Error(`token ${tokens[i]} is not at byte ${at} of ${JSON.stringify(text.toString())}`);
    const [begin, end] = [at, at += token.length];
    return answers.some(([first, last]) => begin >= first && end <= last && begin < end) ? 1 : 0;
  });
}

const out = [];
for (const {name, template, changes} of variants) {
  const tokenizer = new Tokenizer({...base, ...changes}, {});
  const jinja = new Template(template.jinja);
  const render = (messages, add_generation_prompt) => jinja.render({messages, add_generation_prompt, bos_token: '<|begin_of_text|>'});
  const normal = text => changes.normalizer ? text.normalize('NFC') : text;
  conversations.forEach((messages, number) => {
    const prompt = messages.at(-1).role === 'user', text = render(messages, prompt);
    const answers = messages.flatMap(({role, content}, i) => {
      if (role !== 'assistant') return [];
      const begin = bytes(normal(render(messages.slice(0, i), false) + template.header)).length;
      return [[begin, begin + bytes(normal(template.content(content) + names[template.end])).length]];
    });
    const encoded = tokenizer.encode(text, {add_special_tokens: false});
    out.push({name, ...(number ? {} : {changes, template: template.jinja}), messages, prompt, ids: encoded.ids, trained: mask(encoded, bytes(normal(text)), answers)});
  });
}
fs.writeFileSync(path.join(data, 'chat_cases.json'), out.map((item, i) => (i ? ' ' : '[') + JSON.stringify(item)).join(',\n') + ']\n');
