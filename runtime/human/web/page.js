"use strict";
// The state of the page and everything that changes it: keys, buttons, the server's answers. Work on an item is kept in
// sessionStorage after each change, so that a reload, a crash or a lost server takes nothing away.

const work = {
  annotator: "",
  item: null,
  groups: [],
  selected: null, // the card that arrows move and that = ties
  history: [], // rankings before each step
  confidence: 0,
  comment: "",
  began: 0, // when the item appeared, for the pace
  busy: false, // a call is under way
  pending: null, // a judgment that the server may or may not have
  lost: false,
};

const PAST_KEPT = 50; // judgments whose ranking comes back when they are undone
const PACE_KEPT = 20;
const PACE_LONGEST = 600; // seconds; who takes longer was away

// ---- what outlives a reload ----

function stored(key, fallback) {
  try {
    return JSON.parse(sessionStorage.getItem("trivium." + key)) ?? fallback;
  } catch {
    return fallback;
  }
}

function store(key, value) {
  try {
    sessionStorage.setItem("trivium." + key, JSON.stringify(value));
  } catch {
    // A browser that keeps nothing still ranks.
  }
}

function save() {
  const { annotator, item, groups, selected, history, confidence, comment } = work;
  store("work", {
    annotator, groups, selected, history, confidence, comment,
    presentation: item?.presentation ?? null, t_shown: item?.t_shown ?? 0,
  });
}

function isRanking(groups, k) {
  const flat = Array.isArray(groups) ? groups.flat() : [NaN];
  return new Set(flat).size === flat.length && flat.every((card) => Number.isInteger(card) && card >= 0 && card < k);
}

// ---- items ----

function accept(shown) {
  view.progress(shown.progress, pace());
  view.notice(null);
  work.pending = null;
  if (!shown.item) {
    work.item = null;
    view.showDone(shown.progress);
    save();
    return;
  }
  const same = work.item?.presentation === shown.item.presentation;
  if (same) return;
  begin(shown.item);
  view.say("Item " + (shown.progress.done + 1) + " of " + shown.progress.total + ", " + shown.item.k + " answers");
}

function begin(item) {
  const before = stored("work", {});
  const past = stored("past", []).find((entry) => entry.presentation === item.presentation);
  Object.assign(work, { item, groups: [], selected: null, history: [], confidence: 0, comment: "", began: Date.now() });
  if (before.annotator === work.annotator && before.presentation === item.presentation && isRanking(before.groups, item.k)) {
    // A reload in the middle.
    Object.assign(work, {
      groups: before.groups, selected: before.selected, history: before.history,
      confidence: before.confidence, comment: before.comment,
    });
    item.t_shown = before.t_shown || item.t_shown;
  } else if (past && past.annotator === work.annotator && isRanking(past.groups, item.k)) {
    // A judgment that was undone: its ranking comes back, and each further undo takes one card off it.
    Object.assign(work, { groups: past.groups, confidence: past.confidence, comment: past.comment });
    for (let groups = past.groups; groups.length > 0;) {
      groups = ranking.remove(groups, groups.at(-1).at(-1));
      work.history.unshift(groups);
    }
  }
  view.showItem(item);
  view.paint(work);
  save();
}

function pace() {
  const times = stored("pace", []).sort((a, b) => a - b);
  return times.length > 0 ? times[times.length >> 1] : 0;
}

function remember(judgment) {
  const past = stored("past", []).filter((entry) => entry.presentation !== judgment.presentation);
  past.push({ ...judgment, groups: judgment.ranking ?? [] });
  store("past", past.slice(-PAST_KEPT));
}

function measurePace() {
  const seconds = (Date.now() - work.began) / 1000;
  if (seconds < PACE_LONGEST) store("pace", [...stored("pace", []), seconds].slice(-PACE_KEPT));
}

// ---- the server ----

/** Runs one call at a time; a server that is gone is waited for, and what was begun stays. */
async function ask(name, body) {
  if (work.busy || work.lost) return;
  work.busy = true;
  heard = Date.now();
  if (work.item) view.paint(work);
  try {
    accept(await server.call(name, { annotator: work.annotator, ...body }));
  } catch (error) {
    if (error instanceof ServerLost) {
      waitForServer();
    } else if (name === "judge" && error.status === 409) {
      work.pending = null;
      work.busy = false;
      work.item = null;
      await ask("next", {});
      view.notice("Not written: " + error.message + ".", "warn");
      return;
    } else if (error.status === 403) {
      work.lost = true;
      view.shutOut(error.message);
    } else {
      work.pending = null;
      view.notice(name === "undo" && error.status === 409 ? "There is no judgment of yours to undo since the server was started."
        : "The server says: " + error.message, "warn");
    }
  } finally {
    work.busy = false;
    if (work.item) view.paint(work);
  }
}

/** What the server says at the start, or null where this page's link does not hold. */
async function connect() {
  for (let first = true; ; first = false) {
    try {
      const start = await server.call("start", {});
      showText($("source"), start.title.split("/").at(-1), "");
      return start;
    } catch (error) {
      if (error instanceof Refused && error.status === 403) {
        view.shutOut(error.message);
        return null;
      }
      view.notice("The server does not answer. Your work on this item is kept; this page goes on as soon as the server is back.", "lost");
      if (first && work.item) save();
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}

async function waitForServer() {
  if (work.lost) return;
  work.lost = true;
  if (!(await connect())) return;
  work.lost = false;
  view.notice(null);
  // The judgment that was under way is in the file or not: the server shows another item, or the same one again.
  const pending = work.pending;
  await ask("next", {});
  if (pending && work.item?.presentation === pending.presentation) {
    work.pending = pending;
    judge(pending);
  }
}

// An item that was left alone goes to others when they have nothing else, so what is done here is said to the server,
// and who comes back too late is told before they rank in vain.

const HERE_EVERY = 60000; // milliseconds
let heard = 0;

async function sayHere() {
  if (!work.item || work.busy || work.lost || Date.now() - heard < HERE_EVERY) return;
  heard = Date.now();
  const { presentation } = work.item;
  try {
    const answer = await server.call("here", { annotator: work.annotator, presentation });
    if (answer.kept || work.item?.presentation !== presentation || work.busy) return;
    work.item = null;
    await ask("next", {});
    view.notice("You were away for a while, and the item before you went to somebody else. " +
      (work.item ? "Here is another one." : ""), "warn");
  } catch {
    // The next call finds out.
  }
}

function judge(judgment) {
  if (work.busy) return;
  if (work.pending !== judgment) measurePace();
  work.pending = judgment;
  remember(judgment);
  if (work.lost) view.say("Kept until the server is back");
  else ask("judge", judgment);
}

function judgment(fields) {
  return {
    annotator: work.annotator,
    presentation: work.item.presentation,
    t_shown: work.item.t_shown,
    confidence: work.confidence,
    comment: work.comment.trim(),
    ...fields,
  };
}

// ---- steps ----

function change(groups, card) {
  if (JSON.stringify(groups) !== JSON.stringify(work.groups)) work.history.push(work.groups);
  work.groups = groups;
  work.selected = card;
  reconsider();
  const at = ranking.groupOf(groups, card);
  view.say("Answer " + (card + 1) + (at < 0 ? " taken out" : (groups[at].length > 1 ? " tied " : " ") +
    ordinal(ranking.placeOf(groups, card))));
}

/** After each step: what waits for a lost server is not what is meant any more. */
function reconsider() {
  if (work.lost) work.pending = null;
  else view.notice(null);
  view.paint(work);
  save();
}

function select(card) {
  work.selected = card;
  view.paint(work);
  save();
}

function place(card) {
  if (card >= work.item.k) return;
  if (ranking.groupOf(work.groups, card) < 0) change(ranking.append(work.groups, card), card);
  else select(card);
  // So that Page Up and Page Down scroll this answer; it stays where it is.
  view.cards[card].card.focus({ preventScroll: true });
}

function move(step) {
  if (work.selected === null) return false;
  if (ranking.groupOf(work.groups, work.selected) < 0) place(work.selected);
  else change(step(work.groups, work.selected), work.selected);
  return true;
}

function submit() {
  const rest = ranking.unplaced(work.groups, work.item.k);
  if (rest.length > 1) {
    view.notice("Place " + (rest.length - 1) + " more " + (rest.length === 2 ? "answer" : "answers") +
      " first; the last one left over goes last.", "warn");
    return;
  }
  if (rest.length === 1) change(ranking.append(work.groups, rest[0]), rest[0]);
  judge(judgment({ ranking: work.groups }));
}

const skip = () => judge(judgment({ ranking: null }));
const allBad = () => judge(judgment({ ranking: null, all_bad: true }));

function undo(repeated) {
  if (work.item && work.history.length > 0) {
    work.groups = work.history.pop();
    if (ranking.groupOf(work.groups, work.selected ?? -1) < 0) work.selected = work.groups.at(-1)?.at(-1) ?? null;
    reconsider();
    view.say("Undone");
  } else if (!repeated) {
    ask("undo", {});
  }
}

function setConfidence(level) {
  work.confidence = Math.max(0, Math.min(5, level));
  view.paint(work);
  save();
  view.say(work.confidence > 0 ? "Sure: " + work.confidence + " of 5" : "Sureness not said");
}

function showExtras(on) {
  $("side").classList.toggle("open", on);
  $("more").setAttribute("aria-expanded", String(on));
}

/** Texts are made anew; the ranking, and what is scrolled, stay. */
function showPlain(plain) {
  view.plain = plain;
  keep("plain", plain ? "yes" : "no");
  view.form();
  if (!work.item) return;
  view.showTexts(work.item);
  view.paint(work);
  view.say(plain ? "Answers as plain text" : "Answers as Markdown");
}

function showGuidelines(on) {
  if ($("guidelines-button").hidden) return;
  $("guidelines").hidden = !on;
  $("guidelines-button").setAttribute("aria-expanded", String(on));
  keep("guidelines", on ? "yes" : "no");
}

// ---- keys and buttons ----

function onKey(event) {
  const target = event.target;
  if (document.querySelector("dialog[open]")) {
    if (!$("help").open || (event.key !== "?" && event.key !== "Enter")) return;
    $("help").close();
    event.preventDefault();
    return;
  }
  if (target === $("comment")) {
    if (event.key === "Escape") target.blur();
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      target.blur();
      submit();
      event.preventDefault();
    }
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.key === "?") $("help").showModal();
  else if (event.key === "m") showPlain(!view.plain);
  else if (event.key === "g") showGuidelines($("guidelines").hidden);
  else if (event.key === "u" || event.key === "Backspace") undo(event.repeat);
  else if (!work.item || work.busy) return;
  else if (/^[1-9]$/.test(event.key)) place(Number(event.key) - 1);
  else if (event.key === "ArrowUp" || event.key === "ArrowLeft") {
    if (!move(ranking.up)) return;
  } else if (event.key === "ArrowDown" || event.key === "ArrowRight") {
    if (!move(ranking.down)) return;
  } else if (event.key === "=" || event.key === "t") {
    if (work.selected === null || ranking.groupOf(work.groups, work.selected) < 0) return;
    if (!event.repeat) change(ranking.toggleTie(work.groups, work.selected), work.selected);
  } else if (event.key === "Enter") {
    if (target.closest?.("button:not(.handle, .chip)")) return;
    if (!event.repeat) submit();
  } else if (event.key === "s" || event.key === "x") {
    if (!event.repeat) (event.key === "s" ? skip : allBad)();
  } else if (event.key === "c") {
    showExtras(true);
    $("comment").focus();
  } else if (event.key === "," || event.key === ".") {
    setConfidence(work.confidence + (event.key === "." ? 1 : -1));
  } else if (event.key === "Escape") {
    work.selected = null;
    view.paint(work);
  } else {
    return;
  }
  event.preventDefault();
}

function onClick(event) {
  const button = event.target.closest?.("button");
  // A pressed button keeps no focus, so that Enter goes on meaning "submit".
  if (button && event.detail > 0) button.blur();
  if (!work.item || work.busy || drag.ended) return;
  if (button?.matches(".handle, .chip")) place(Number(button.dataset.card));
  else if (button?.dataset.confidence) {
    const level = Number(button.dataset.confidence);
    setConfidence(level === work.confidence ? 0 : level);
  }
}

function listen() {
  document.addEventListener("keydown", onKey);
  document.addEventListener("click", onClick);
  document.addEventListener("focusin", (event) => {
    if (event.target.matches?.(".card") && event.target.matches(":focus-visible")) select(Number(event.target.dataset.card));
  });
  $("submit").addEventListener("click", submit);
  $("skip").addEventListener("click", skip);
  $("all-bad").addEventListener("click", allBad);
  $("undo").addEventListener("click", () => undo(false));
  $("done-undo").addEventListener("click", () => undo(false));
  $("more").addEventListener("click", () => showExtras(!$("side").classList.contains("open")));
  $("help-button").addEventListener("click", () => $("help").showModal());
  $("comment").addEventListener("input", () => {
    work.comment = $("comment").value;
    save();
  });
  $("who").addEventListener("click", changeName);
  $("form-button").addEventListener("click", () => showPlain(!view.plain));
  $("guidelines-button").addEventListener("click", () => showGuidelines($("guidelines").hidden));
  for (const sign of ["pointermove", "pointerdown", "keydown", "wheel", "scroll", "focus"])
    addEventListener(sign, sayHere, { passive: true, capture: true });
  drag.listen();
}

// ---- who ranks ----

/** The name that was entered; the one before where the question was left. */
function askName() {
  return new Promise((resolve) => {
    const dialog = $("name-dialog");
    let answer = work.annotator;
    $("name").value = answer;
    dialog.oncancel = (event) => {
      if (!work.annotator) event.preventDefault();
    };
    dialog.addEventListener("close", () => resolve(answer), { once: true });
    $("name-form").onsubmit = (event) => {
      event.preventDefault();
      answer = $("name").value.trim();
      if (answer) dialog.close();
    };
    dialog.showModal();
  });
}

function useName(name) {
  work.annotator = name;
  showText($("who"), name, "?");
}

async function changeName() {
  const name = await askName();
  if (name === work.annotator || work.busy || work.lost) return;
  // What the one before has on the screen is free for others, the next one among them.
  await server.call("release", { annotator: work.annotator }).catch(() => {});
  keep("annotator", name);
  useName(name);
  work.item = null;
  await ask("next", {});
}

/** What the browser keeps for the next visit, where it keeps anything. */
function keep(key, value) {
  try {
    localStorage.setItem("trivium." + key, value);
  } catch {
    // It is asked for again.
  }
}

function kept(key) {
  try {
    return localStorage.getItem("trivium." + key);
  } catch {
    return null;
  }
}

async function run() {
  server.takeLink();
  listen();
  const start = await connect();
  if (!start) return;
  if (start.organiser) return organiser.run();
  showPlain(kept("plain") === "yes");
  if (start.guidelines) {
    markdown.show($("guidelines").firstElementChild, start.guidelines);
    $("guidelines-button").hidden = false;
    // In a narrow window they would push the item away.
    showGuidelines(kept("guidelines") === null ? innerWidth > 860 : kept("guidelines") === "yes");
  }
  let name = start.annotator ?? kept("annotator");
  if (!name) {
    name = await askName();
    keep("annotator", name);
  }
  useName(name);
  $("who").disabled = start.annotator !== null;
  $("who").title = start.annotator === null ? "Change the name" : "This link is yours; your judgments carry this name";
  await ask("next", {});
  // Someone who has finished sees by themselves what others give back.
  setInterval(() => {
    if (!work.item && !work.busy && !work.lost && !document.hidden) ask("next", {});
  }, 5000);
}

run();
