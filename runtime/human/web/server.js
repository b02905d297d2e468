"use strict";
// Calls to the server (web_api.h). A server that is gone and one that was started anew are told apart from refusals.

class ServerLost extends Error {}

class Refused extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

const server = {
  token: null,

  async fetch(name, init) {
    let response, text;
    try {
      response = await fetch("/api/" + name, { ...init, cache: "no-store", signal: AbortSignal.timeout(20000) });
      text = await response.text();
    } catch {
      throw new ServerLost();
    }
    let body = null;
    try {
      body = JSON.parse(text);
    } catch {
      throw new Refused(response.status, "The server answered something that is no JSON.");
    }
    if (!response.ok) throw new Refused(response.status, body.error ?? "refused with " + response.status);
    return body;
  },

  /** Learns the token; each start of the server draws a new one. */
  async connect() {
    const start = await server.fetch("start", {});
    server.token = start.token;
    return start;
  },

  async call(name, body) {
    try {
      return await server.fetch(name, {
        method: "POST",
        headers: { "Content-Type": "application/json", "X-Trivium-Token": server.token ?? "" },
        body: JSON.stringify(body),
      });
    } catch (error) {
      // Another token: another start of the server, which knows nothing of this call.
      if (error instanceof Refused && error.status === 403) throw new ServerLost();
      throw error;
    }
  },
};
