"use strict";
// Calls to the server (web_api.h), with the secret of the link that opened this page. A server that is gone is told apart
// from refusals, and a link that does not hold from both.

class ServerLost extends Error {}

class Refused extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

const server = {
  link: "",

  /** The secret stands behind # in the address, from where it goes into the tab's memory and, for the next visit, the
   *  browser's; then the address bar shows it to nobody who looks on. */
  takeLink() {
    server.link = location.hash.slice(1);
    try {
      if (server.link) {
        sessionStorage.setItem("trivium.link", server.link);
        localStorage.setItem("trivium.link", server.link);
        history.replaceState(null, "", location.pathname);
      } else {
        server.link = sessionStorage.getItem("trivium.link") ?? localStorage.getItem("trivium.link") ?? "";
        sessionStorage.setItem("trivium.link", server.link);
      }
    } catch {
      // A browser that keeps nothing keeps it in the address.
    }
    // Another link, opened in this tab.
    addEventListener("hashchange", () => location.reload());
  },

  async call(name, body) {
    let response, text;
    try {
      response = await fetch("api/" + name, {
        method: "POST",
        headers: { "Content-Type": "application/json", "X-Trivium-Link": server.link },
        body: JSON.stringify(body),
        cache: "no-store",
        signal: AbortSignal.timeout(20000),
      });
      text = await response.text();
    } catch {
      throw new ServerLost();
    }
    // What a proxy says while the server behind it is gone.
    if (response.status >= 502 && response.status <= 504) throw new ServerLost();
    let answer = null;
    try {
      answer = JSON.parse(text);
    } catch {
      throw new Refused(response.status, "the server answered something that is no JSON");
    }
    if (!response.ok) throw new Refused(response.status, answer.error ?? "refused with " + response.status);
    return answer;
  },
};
