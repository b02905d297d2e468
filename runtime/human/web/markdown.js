"use strict";
// Trees of the server (markdown.h) as elements. Only the names below become elements, texts become text nodes as in
// text.js, and the one address that is ever followed, by a click, begins with http:// or https://.

const MARKDOWN_ELEMENTS = new Set(["p", "ul", "ol", "li", "hr", "br", "tr", "th", "td", "em", "strong",
  "del", "code"]);
// Each finds its own direction, which its marks and margins follow; so does each paragraph in it (page.css).
const MARKDOWN_SIDES = new Set(["ul", "ol", "quote", "table"]);

const markdown = {
  nodes: (tree) => (tree ?? []).flatMap((node) => (typeof node === "string" ? textNodes(node) : [markdown.element(node)])),

  /** Fills the element. */
  show(element, tree) {
    element.replaceChildren(...markdown.nodes(tree));
    element.classList.remove("empty");
  },

  element(node) {
    const children = markdown.nodes(node.c);
    const element = markdown.made(node, children);
    if (MARKDOWN_SIDES.has(node.t)) element.dir = "auto";
    return element;
  },

  made(node, children) {
    switch (node.t) {
      case "h":
        return make("h" + Math.min(6, Math.max(1, node.n) + 2), "h" + node.n, ...children);
      case "quote":
        return make("blockquote", "", ...children);
      case "pre": {
        const code = make("pre", "", make("code", "", ...children));
        code.dir = "ltr";
        code.tabIndex = 0;
        return make("div", "code", ...(node.l ? [make("div", "language", ...textNodes(node.l))] : []), code);
      }
      case "table":
        return make("div", "sheet", make("table", "", ...children)); // which scrolls where it is wide
      case "a":
        return markdown.link(node.u, children);
      case "dead":
        return make("span", "dead", ...children, ...markdown.address(node.u));
      case "img":
        return make("span", "image", "image: ", ...children, ...markdown.address(node.u));
    }
    if (!MARKDOWN_ELEMENTS.has(node.t)) return make("span", "", ...children);
    const element = document.createElement(node.t);
    element.append(...(node.x === undefined ? [] : [node.x ? "☑ " : "☐ "]), ...children);
    if (node.x !== undefined) element.className = "task";
    if (["left", "center", "right"].includes(node.l)) element.className = node.l;
    if (node.t === "ol" && Number.isInteger(node.s) && node.s !== 1) element.start = node.s;
    return element;
  },

  /** The text alone, for an excerpt. */
  text: (tree) => (tree ?? []).map((node) => (typeof node === "string" ? node : markdown.text(node.c) + (["em", "strong", "del", "code", "a"]
    .includes(node.t) ? "" : " "))).join(""),

  /** What stands behind a text, so that it cannot say another address than it has. */
  address: (text) => (text ? [make("span", "address", " (", ...textNodes(text), ")")] : []),

  link(address, children) {
    let url = null;
    try {
      url = new URL(address);
    } catch {
      // None that a browser takes.
    }
    if (!url || !/^https?:$/.test(url.protocol)) return make("span", "dead", ...children, ...markdown.address(address));
    const link = make("a", "", ...children);
    link.href = url.href;
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
    link.title = url.href;
    const said = link.textContent.replace(/^https?:\/\//i, "");
    return said.startsWith(url.host) ? link : make("span", "", link, ...markdown.address(url.host));
  },
};
