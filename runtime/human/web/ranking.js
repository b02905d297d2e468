"use strict";
// A ranking is a list of groups, best first; a group is a list of display positions that are tied. Every function
// returns a new ranking.

const ranking = {
  /** The index of the card's group, or -1 while it is not placed. */
  groupOf: (groups, card) => groups.findIndex((group) => group.includes(card)),

  remove: (groups, card) =>
    groups.map((group) => group.filter((other) => other !== card)).filter((group) => group.length > 0),

  /** Alone, before the group that now has this index; at the end where there is none. */
  insert(groups, card, index) {
    const out = [];
    groups.forEach((group, i) => {
      if (i === index) out.push([card]);
      const rest = group.filter((other) => other !== card);
      if (rest.length > 0) out.push(rest);
    });
    if (index >= groups.length) out.push([card]);
    return out;
  },

  append: (groups, card) => ranking.insert(groups, card, groups.length),

  /** Into the group that now has this index. */
  tie(groups, card, index) {
    return groups
      .map((group, i) => {
        const rest = group.filter((other) => other !== card);
        return i === index ? [...rest, card] : rest;
      })
      .filter((group) => group.length > 0);
  },

  /** One step towards the best: out of a tie first, then past the next group. */
  up(groups, card) {
    const at = ranking.groupOf(groups, card);
    return ranking.insert(groups, card, groups[at].length > 1 ? at : Math.max(0, at - 1));
  },

  down(groups, card) {
    const at = ranking.groupOf(groups, card);
    return ranking.insert(groups, card, groups[at].length > 1 ? at + 1 : at + 2);
  },

  /** Ties with the group before; a card that is tied already comes apart again. */
  toggleTie(groups, card) {
    const at = ranking.groupOf(groups, card);
    if (groups[at].length > 1) return ranking.insert(groups, card, at + 1);
    return at > 0 ? ranking.tie(groups, card, at - 1) : groups;
  },

  /** The place that is shown: 1 and the number of cards that are better. */
  placeOf(groups, card) {
    const at = ranking.groupOf(groups, card);
    return 1 + groups.slice(0, at).reduce((sum, group) => sum + group.length, 0);
  },

  unplaced: (groups, k) => [...Array(k).keys()].filter((card) => ranking.groupOf(groups, card) < 0),
};

function ordinal(n) {
  return n + (n === 1 ? "st" : n === 2 ? "nd" : n === 3 ? "rd" : "th");
}
