"use strict";
// Text of strangers, shown as text. Nothing here makes markup: characters that would act (controls, direction marks,
// invisible ones) become visible symbols, everything else becomes text nodes.

const ACTING = new RegExp(
  "[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u00ad\\u061c\\u180e\\u200b\\u200e\\u200f\\u2028-\\u202e" +
  "\\u2060-\\u206f\\ufeff\\ufff9-\\ufffd\\u{e0000}-\\u{e007f}\\p{Cs}]", "gu");

const CHARACTER_NAMES = new Map([
  ...("NUL SOH STX ETX EOT ENQ ACK BEL BS TAB LF VT FF CR SO SI DLE DC1 DC2 DC3 DC4 NAK SYN ETB CAN EM SUB ESC FS GS RS " +
    "US").split(" ").entries(), [0x7f, "DEL"],
  [0xad, "SHY"], [0x61c, "ALM"], [0x180e, "MVS"], [0x200b, "ZWSP"], [0x200e, "LRM"], [0x200f, "RLM"], [0x2028, "LINE"],
  [0x2029, "PARA"], [0x202a, "LRE"], [0x202b, "RLE"], [0x202c, "PDF"], [0x202d, "LRO"], [0x202e, "RLO"], [0x2060, "WJ"],
  [0x2066, "LRI"], [0x2067, "RLI"], [0x2068, "FSI"], [0x2069, "PDI"], [0xfeff, "BOM"],
]);

function symbolOf(character) {
  const code = character.codePointAt(0);
  if (code === 0xfffd) return "\ufffd"; // bytes that are no UTF-8
  return CHARACTER_NAMES.get(code) ?? "U+" + code.toString(16).toUpperCase().padStart(4, "0");
}

/** The text as nodes: text, and a symbol for each character that would act. */
function textNodes(text) {
  text = text.replaceAll("\r\n", "\n");
  const nodes = [];
  let from = 0;
  for (const match of text.matchAll(ACTING)) {
    const symbol = document.createElement("span");
    symbol.className = "symbol";
    symbol.textContent = symbolOf(match[0]);
    nodes.push(document.createTextNode(text.slice(from, match.index)), symbol);
    from = match.index + match[0].length;
  }
  nodes.push(document.createTextNode(text.slice(from)));
  return nodes;
}

/** Fills the element with the text, or with a word for an empty one. */
function showText(element, text, empty) {
  element.classList.toggle("empty", text === "");
  element.replaceChildren(...(text === "" ? [empty] : textNodes(text)));
}

/** The beginning of a text in one line. */
function excerptOf(text) {
  return Array.from(text.slice(0, 400).replace(/\s+/g, " ").trim()).slice(0, 90).join("");
}
