"use strict";
// The organiser's page: who ranks, how many, how fast, how far they agree (web_overview.h). It only looks.

const organiser = {
  EVERY: 5000, // milliseconds

  async run() {
    $("organiser").hidden = false;
    for (const id of ["who", "form-button", "guidelines-button", "help-button"]) $(id).hidden = true;
    for (;;) {
      try {
        organiser.show(await server.call("overview", {}));
        view.notice(null);
      } catch (error) {
        if (error instanceof Refused && error.status === 403) return view.shutOut(error.message);
        view.notice(error instanceof ServerLost ? "The server does not answer. This page goes on as soon as it is back."
          : "The server says: " + error.message, "lost");
      }
      await new Promise((resolve) => setTimeout(resolve, organiser.EVERY));
    }
  },

  percent: (share) => (share === null ? "–" : Math.round(100 * share) + " %"),

  silent({ silent, has_item }) {
    if (silent === null) return "not here yet";
    if (silent < 90) return has_item ? "ranking" : "here";
    return "silent for " + view.duration(silent);
  },

  cell(className, content) {
    const cell = make("td", className);
    if (typeof content === "string") cell.append(content);
    else cell.append(...content);
    return cell;
  },

  name(text) {
    const name = make("bdi", "name");
    showText(name, text, "?");
    return [name];
  },

  rows(id, rows, nothing) {
    $(id).hidden = rows.length === 0;
    $(id + "-none").hidden = rows.length > 0;
    $(id + "-none").textContent = nothing;
    $(id).querySelector("tbody").replaceChildren(...rows);
  },

  show(o) {
    view.progress({ done: o.judged_items, total: o.items }, 0);
    $("judged-items").textContent = o.judged_items + " of " + o.items;
    $("judgments").textContent = String(o.judgments);
    $("agreement").textContent = organiser.percent(o.agreement);
    $("agreement-note").textContent = o.agreement === null
      ? "no item yet that two people ranked"
      : "on " + o.shared_items + (o.shared_items === 1 ? " item" : " items") +
        (o.alpha === null ? "" : "; alpha " + o.alpha.toFixed(2));
    $("oneself").textContent = organiser.percent(o.with_oneself);
    organiser.rows("people", o.people.map((person) => {
      const state = organiser.silent(person);
      const row = make("tr", state === "ranking" || state === "here" ? "there" : "",
        organiser.cell("", organiser.name(person.name)),
        organiser.cell("number", String(person.judgments)), organiser.cell("number", String(person.skips)),
        organiser.cell("number", person.seconds === null ? "–" : view.duration(person.seconds)),
        organiser.cell("state", state));
      return row;
    }), "Nobody has come yet. Each annotator opens their own link, as it was printed.");
    organiser.rows("pairs", o.pairs.map((pair) => make("tr", "",
      organiser.cell("", [...organiser.name(pair.a), " and ", ...organiser.name(pair.b)]),
      organiser.cell("number", String(pair.items)), organiser.cell("number", organiser.percent(pair.agreement)))),
      "No two people have ranked the same item yet.");
  },
};
