"use strict";
// Dragging with mouse, pen and finger: from a card's heading or a chip, into the order, onto another one (a tie), or back
// among those that are not placed. Uses page.js's change() and work.

const drag = {
  begun: null, // {card, x, y, source} from the press on
  ghost: null, // what follows the pointer, once it has moved
  target: null, // {element, mark, apply}
  ended: false, // just now

  START: 6, // pixels of movement that make a press a drag
  EDGE: 0.28, // of a place: nearer its ends means between, the middle means a tie

  /** Where a drop at this point would put the card, or null. */
  targetAt(x, y, card) {
    const under = document.elementFromPoint(x, y);
    if (!under) return null;
    const groups = work.groups;
    const insert = (element, mark, index) => ({ element, mark, apply: () => ranking.insert(groups, card, index) });
    const sideways = getComputedStyle($("places")).flexDirection.startsWith("row");
    const places = [...$("places").children];
    const over = under.closest(".place");
    if (over) {
      const index = Number(over.dataset.index);
      if (groups[index].length === 1 && groups[index][0] === card) return null;
      const box = over.getBoundingClientRect();
      const part = sideways ? (x - box.left) / box.width : (y - box.top) / box.height;
      if (part < drag.EDGE) return insert(over, "before", index);
      if (part > 1 - drag.EDGE) return insert(over, "after", index + 1);
      return { element: over, mark: "onto", apply: () => ranking.tie(groups, card, index) };
    }
    if (under.closest("#rest") && ranking.groupOf(groups, card) >= 0)
      return { element: $("rest"), mark: "onto", apply: () => ranking.remove(groups, card) };
    if (under.closest("#order")) {
      const index = places.findIndex((place) => {
        const box = place.getBoundingClientRect();
        return sideways ? x < box.right && y < box.bottom : y < box.top + box.height / 2;
      });
      if (index >= 0) return insert(places[index], "before", index);
      return insert(places.length > 0 ? places.at(-1) : $("order"), places.length > 0 ? "after" : "onto", groups.length);
    }
    const other = under.closest(".card");
    if (!other || Number(other.dataset.card) === card) return null;
    const partner = Number(other.dataset.card);
    return {
      element: other,
      mark: "onto",
      apply() {
        const placed = ranking.groupOf(groups, partner) < 0 ? ranking.append(groups, partner) : groups;
        return ranking.tie(placed, card, ranking.groupOf(placed, partner));
      },
    };
  },

  mark(target) {
    if (drag.target) drag.target.element.classList.remove("before", "after", "onto");
    drag.target = target;
    if (target) target.element.classList.add(target.mark);
  },

  lift(event) {
    const text = view.excerpt(work.item, drag.begun.card);
    drag.ghost = make("div", "ghost", make("span", "digit", String(drag.begun.card + 1)), text);
    document.body.append(drag.ghost);
    document.body.classList.add("dragging");
    view.cards[drag.begun.card].card.classList.add("lifted");
    drag.begun.source.setPointerCapture(event.pointerId);
  },

  end() {
    if (drag.ghost) {
      drag.ghost.remove();
      document.body.classList.remove("dragging");
      for (const { card } of view.cards) card.classList.remove("lifted");
      // The click that follows the release belongs to the drag.
      drag.ended = true;
      setTimeout(() => (drag.ended = false), 0);
    }
    drag.mark(null);
    drag.begun = drag.ghost = null;
  },

  listen() {
    document.addEventListener("pointerdown", (event) => {
      const source = event.target.closest?.(".handle, .chip");
      if (!source || event.button !== 0 || !event.isPrimary || work.busy) return;
      drag.begun = { card: Number(source.dataset.card), x: event.clientX, y: event.clientY, source };
    });
    document.addEventListener("pointermove", (event) => {
      if (!drag.begun || !event.isPrimary) return;
      const { card, x, y } = drag.begun;
      if (!drag.ghost) {
        if (Math.hypot(event.clientX - x, event.clientY - y) < drag.START) return;
        drag.lift(event);
      }
      drag.ghost.style.transform = `translate(${event.clientX}px, ${event.clientY}px)`;
      drag.mark(drag.targetAt(event.clientX, event.clientY, card));
    });
    document.addEventListener("pointerup", (event) => {
      if (!drag.begun || !event.isPrimary) return;
      const { card } = drag.begun;
      const target = drag.ghost ? drag.target : null;
      drag.end();
      if (target) change(target.apply(), card);
    });
    document.addEventListener("pointercancel", drag.end);
    document.addEventListener("keydown", (event) => {
      if (drag.ghost && event.key === "Escape") {
        event.stopImmediatePropagation();
        drag.end();
      }
    }, { capture: true });
  },
};
