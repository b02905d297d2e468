"use strict";
// What is on the screen, made from the state of page.js. Cards are built once per item; paint() then only marks them.

const $ = (id) => document.getElementById(id);

function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

const view = {
  cards: [], // per display position: {card, handle, place, text}
  plain: false, // answers as they were written, not as Markdown

  showPrompt(prompt) {
    const turns = typeof prompt === "string" ? [{ content: prompt }] : prompt;
    $("prompt").replaceChildren(
      ...turns.map((turn) => {
        const text = make("div", "text");
        text.dir = "auto";
        view.showAnswer(text, turn.content, turn.tree, "(empty prompt)");
        if (turn.role === undefined) return make("div", "turn", text);
        const role = make("div", "role");
        showText(role, turn.role, "(no role)");
        return make("div", "turn", role, text);
      }),
    );
  },

  /** What a model wrote: as Markdown where the server could read it so, and as it is where that was asked for. */
  showAnswer(element, text, tree, empty) {
    const rich = !view.plain && text !== "" && Boolean(tree);
    element.classList.toggle("rich", rich);
    if (rich) markdown.show(element, tree);
    else showText(element, text, empty);
  },

  showTexts(item) {
    view.showPrompt(item.prompt);
    view.cards.forEach(({ text }, card) => view.showAnswer(text, item.texts[card], item.trees[card], "(empty answer)"));
  },

  form() {
    $("form-button").textContent = view.plain ? "Plain text" : "Markdown";
    $("form-button").setAttribute("aria-label", view.plain ? "Plain text. Show answers as Markdown" : "Markdown. Show answers as plain text");
  },

  showItem(item) {
    view.cards = item.texts.map((_, card) => {
      const digit = make("span", "digit", String(card + 1));
      const place = make("span", "rank");
      const handle = make("button", "handle", digit, place);
      handle.type = "button";
      handle.title = "Click to give it the next place, or drag it into your order";
      const text = make("div", "text");
      text.dir = "auto";
      const article = make("article", "card", handle, text);
      article.dataset.card = handle.dataset.card = card;
      article.tabIndex = 0;
      return { card: article, handle, place, text };
    });
    $("cards").replaceChildren(...view.cards.map((entry) => entry.card));
    $("cards").dataset.k = item.k;
    view.showTexts(item);
    $("prompt").scrollTop = 0;
    $("desk").hidden = false;
    $("done").hidden = true;
    window.scrollTo(0, 0);
  },

  showDone(progress) {
    const all = progress.done >= progress.total;
    $("desk").hidden = true;
    $("done").hidden = false;
    const waiting = progress.before_others > 0;
    $("done-title").textContent = progress.done === 0 ? "Nothing to rank" : all && !waiting ? "All done, thank you" : "Done for now";
    $("done-text").textContent = progress.done === 0 && !waiting
      ? "There is no item for you at the moment. This page looks again by itself."
      : all && progress.before_others === 0 ? "You have judged every item that was meant for you. You may close this page."
      : "Nothing is open for you at the moment" + (progress.before_others > 0
        ? "; " + progress.before_others + (progress.before_others === 1 ? " item is" : " items are") +
          " before others and " + (progress.before_others === 1 ? "comes" : "come") + " here if they leave." : ".") +
        " This page looks again by itself.";
    $("done-undo").hidden = progress.done === 0;
  },

  excerpt(item, card) {
    const excerpt = make("span", "excerpt"), tree = item.trees[card];
    excerpt.dir = "auto";
    showText(excerpt, excerptOf(view.plain || !tree ? item.texts[card] : markdown.text(tree)), "(empty)");
    return excerpt;
  },

  chip(card, item, groups) {
    const excerpt = view.excerpt(item, card);
    const chip = make("button", "chip", make("span", "digit", String(card + 1)), excerpt);
    chip.type = "button";
    chip.dataset.card = card;
    chip.setAttribute("aria-label", "Answer " + (card + 1) +
      (ranking.groupOf(groups, card) < 0 ? ", not placed" : ", " + ordinal(ranking.placeOf(groups, card))));
    return chip;
  },

  paint(work) {
    const { item, groups, selected } = work;
    const rest = ranking.unplaced(groups, item.k);
    const next = 1 + item.k - rest.length;
    view.cards.forEach(({ card, handle, place }, i) => {
      const at = ranking.groupOf(groups, i), placed = at >= 0;
      const tied = placed && groups[at].length > 1;
      const name = placed ? ordinal(ranking.placeOf(groups, i)) : null;
      card.classList.toggle("placed", placed);
      card.classList.toggle("first", at === 0);
      card.classList.toggle("selected", selected === i);
      place.textContent = placed ? name + (tied ? " =" : "") : "";
      const spoken = "Answer " + (i + 1) + (placed ? ", " + (tied ? "tied " : "") + name : ", not placed");
      card.setAttribute("aria-label", spoken);
      handle.setAttribute("aria-label", placed ? spoken + ". Select" : "Place answer " + (i + 1) + " " + ordinal(next));
    });
    // Chips are made anew, so focus that was on one of them goes to its successor.
    const focused = document.activeElement?.closest(".chip")?.dataset.card;
    $("places").replaceChildren(
      ...groups.map((group, i) => {
        const number = make("span", "ordinal", String(ranking.placeOf(groups, group[0])));
        const chips = make("div", "chips", ...group.map((card) => view.chip(card, item, groups)));
        const place = make("li", "place", number, chips);
        place.dataset.index = i;
        place.classList.toggle("tied", group.length > 1);
        return place;
      }),
    );
    $("rest").replaceChildren(...rest.map((card) => view.chip(card, item, groups)));
    $("order").classList.toggle("untouched", groups.length === 0);
    for (const chip of document.querySelectorAll(".chip")) {
      chip.classList.toggle("selected", Number(chip.dataset.card) === selected);
      if (chip.dataset.card === focused) chip.focus({ preventScroll: true });
      if (Number(chip.dataset.card) === selected) view.reveal(chip, $("order"));
    }
    for (const button of $("confidence").querySelectorAll("button")) {
      const level = Number(button.dataset.confidence);
      button.setAttribute("aria-pressed", String(level === work.confidence));
      button.classList.toggle("below", level <= work.confidence);
    }
    if ($("comment").value !== work.comment) $("comment").value = work.comment;
    $("submit").disabled = work.busy || rest.length > 1;
    for (const id of ["skip", "all-bad", "undo"]) $(id).disabled = work.busy;
    $("hint").textContent = rest.length === item.k
      ? (item.k > 9 ? "Click the heading of the best answer, or drag it here." : "Press the number of the best answer, or drag it here.")
      : rest.length > 1 ? "Now the next best."
      : rest.length === 1 ? "Enter puts " + (rest[0] + 1) + " last and submits." : "Enter submits.";
  },

  /** Scrolls the box, and nothing around it, until the element can be seen. */
  reveal(element, box) {
    const inner = element.getBoundingClientRect(), outer = box.getBoundingClientRect();
    const above = inner.top - outer.top - 8, below = inner.bottom - outer.bottom + 8;
    if (above < 0) box.scrollTop += above;
    else if (below > 0) box.scrollTop += below;
  },

  progress({ done, total }, seconds) {
    $("progress").setAttribute("aria-valuemax", total);
    $("progress").setAttribute("aria-valuenow", done);
    $("fill").style.width = (total > 0 ? (100 * done) / total : 100) + "%";
    $("count").textContent = done + " of " + total;
    $("pace").textContent = seconds > 0 && total > done
      ? view.duration(seconds) + " each, " + view.duration(seconds * (total - done)) + " to go" : "";
    document.title = "trivium rank, " + done + " of " + total;
  },

  duration: (seconds) =>
    seconds < 90 ? Math.round(seconds) + " s"
    : seconds < 5400 ? Math.round(seconds / 60) + " min" : (seconds / 3600).toFixed(1) + " h",

  notice(text, kind) {
    $("notice").hidden = !text;
    $("notice").textContent = text ?? "";
    $("notice").dataset.kind = kind ?? "";
  },

  /** Nothing can be done here without a link that holds. */
  shutOut(sentence) {
    $("desk").hidden = true;
    $("done").hidden = false;
    $("done-undo").hidden = true;
    $("done-title").textContent = "This page needs its link";
    $("done-text").textContent = "The server says: " + sentence + ".";
    view.notice(null);
  },

  say(text) {
    $("live").textContent = text;
  },
};
