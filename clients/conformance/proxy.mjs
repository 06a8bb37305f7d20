// What stands between the app and its server: a network that drops, delays, swallows and replaces. One for each scenario, which
// also judges that no token is used before it is stored, and none given to a stranger.
import { once } from "node:events";
import { Agent, createServer, request as call } from "node:http";

const BASE = "/api/mobile/auth";
const ENDPOINTS = [
  ["request", "POST", /^\/(production\/)?request\/$/],
  ["verify", "POST", /^\/(production\/)?verify\/$/],
  ["resend", "POST", /^\/production\/resend\/$/],
  ["status", "GET", /^\/production\/status\/$/],
  ["refresh", "POST", /^\/token\/refresh\/$/],
  ["logout", "POST", /^\/logout\/$/],
  ["logout_all", "POST", /^\/logout\/all\/$/],
  ["sessions", "GET", /^\/sessions\/$/],
  ["session", "DELETE", /^\/sessions\/[^/]+\/$/],
  ["delivery", "GET", /^\/production\/delivery\/[^/]+\/$/],
  ["phone", "POST", /^\/account\/phone\/$/],
  ["phone_verify", "POST", /^\/account\/phone\/verify\/$/],
  ["phone_cancel", "DELETE", /^\/account\/phone\/$/],
  ["delete", "POST", /^\/account\/delete\/$/],
  ["export", "GET", /^\/account\/export\/$/],
];
const DRIP = 100;

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

export class Proxy {
  rules = [];
  /** What was done that must not be done. */
  faults = [];
  issued = [];
  #expired = new Set();
  #counts = new Map();
  #marked = new Map();
  #waiting = new Set();
  #agent = new Agent({ keepAlive: true });
  #listeners = [];

  /** `phone` is the person's, a change of number changes it; `wasStored` tells whether a storage ever held a refresh token. */
  constructor(server, phone, wasStored) {
    this.server = server;
    this.phone = phone;
    this.wasStored = wasStored;
  }

  async start() {
    this.own = await this.#listen((...both) => this.#pass(...both));
    this.other = await this.#listen((...both) => this.#pass(...both));
    this.stranger = await this.#listen((request, response) => this.#strange(request, response));
    this.auth = this.own + BASE;
  }

  async stop() {
    await Promise.all(this.#listeners.map(close));
    this.#agent.destroy();
  }

  /** Ends the listener that the app calls, or begins it anew at the same address. */
  async connect(state) {
    const [listener] = this.#listeners;
    if (state === "down") return close(listener);
    listener.listen(Number(new URL(this.own).port), "127.0.0.1");
    return once(listener, "listening");
  }

  expire() {
    for (const { access } of this.issued) this.#expired.add(access);
  }

  /** From here on calls are counted. */
  begin() {
    this.#counts.clear();
  }

  count(name) {
    return this.#counts.get(name) ?? 0;
  }

  get calls() {
    return ENDPOINTS.reduce((sum, [name]) => sum + this.count(name), this.count("own") + this.count("unknown"));
  }

  note(name) {
    this.#counts.set(name, this.count(name) + 1);
    for (const wake of this.#waiting) wake();
  }

  /** From here on calls are waited for. */
  mark() {
    this.#marked = new Map(this.#counts);
  }

  async until(name, count) {
    while (this.count(name) - (this.#marked.get(name) ?? 0) < count) {
      await new Promise((done) => {
        const wake = () => (this.#waiting.delete(wake), done());
        this.#waiting.add(wake);
      });
    }
  }

  async #listen(handle) {
    const listener = createServer({ keepAliveTimeout: 60_000 }, (...both) => {
      handle(...both).catch((error) => (this.faults.push(`the harness failed: ${error.stack}`), both[1].destroy()));
    });
    this.#listeners.push(listener.listen(0, "127.0.0.1"));
    await once(listener, "listening");
    return `http://127.0.0.1:${listener.address().port}`;
  }

  async #strange(request, response) {
    this.faults.push(`a stranger was called: ${request.method} ${request.url}`);
    await body(request);
    const [one, two] = ["access", "refresh"].map((word) => `stranger.${word}.s`);
    send(response, { status: 200, json: { access: one, refresh: two, message: "Welcome", authenticated: true } });
  }

  async #pass(request, response) {
    const content = await body(request);
    const name = endpoint(request);
    const bearer = /^Bearer (.*)$/.exec(request.headers.authorization ?? "")?.[1];
    const pair = this.issued.find(({ access }) => access === bearer);
    if (pair !== undefined && !this.wasStored(pair.refresh)) this.faults.push(`${name}: an access token before its pair was stored`);
    const rule = this.rules.find((rule) => (rule.on === name || rule.on === "any") && rule.left > 0);
    if (rule !== undefined) rule.left -= 1;
    const forward = async () => {
      if (this.#expired.has(bearer)) return fault(401, "token_expired", { headers: { "WWW-Authenticate": 'Bearer error="invalid_token"' } });
      if (name === "own") return this.#ownApi(bearer);
      return this.#forward(request, content, name);
    };
    const answering = this.#act(rule ?? { act: "pass" }, request, response, forward);
    this.note(name);
    await answering;
    this.note(`${name} answered`);
  }

  async #act(rule, request, response, forward) {
    const socket = response.socket;
    if (rule.act !== "delay") await this.#wait(rule);
    switch (rule.act) {
      case "pass":
        return send(response, await forward());
      case "drop_request":
        return socket.resetAndDestroy();
      case "swallow_request":
        return undefined;
      case "drop_answer":
        await forward();
        return socket.resetAndDestroy();
      case "swallow_answer":
        return void (await forward());
      case "cut":
      case "half": {
        const { status, headers, bytes } = whole(await forward());
        response.writeHead(status, { ...headers, "Content-Length": bytes.length });
        response.write(bytes.subarray(0, bytes.length / 2), () => rule.act === "cut" && socket.destroySoon());
        return undefined;
      }
      case "truncate": {
        const { status, headers, bytes } = whole(await forward());
        return send(response, { status, headers, bytes: bytes.subarray(0, bytes.length / 2) });
      }
      case "garbage":
        await forward();
        return socket.end("\u0016\u0003\u0001 this is no HTTP\r\n\r\n");
      case "drip": {
        const { status, headers, bytes } = whole(await forward());
        response.writeHead(status, { ...headers, "Content-Length": bytes.length });
        for (const byte of bytes) {
          if (response.destroyed) return undefined;
          response.write(Buffer.of(byte));
          await pause(DRIP);
        }
        return response.end();
      }
      case "delay": {
        const answer = await forward();
        await this.#wait(rule);
        return send(response, answer);
      }
      case "twice":
        await forward();
        return send(response, await forward());
      case "answer":
        return send(response, given(rule));
      case "replace":
        await forward();
        return send(response, given(rule));
      case "redirect":
        return send(response, { status: rule.status, headers: { Location: `${this.stranger}/portal` }, html: "Moved" });
      default:
        throw new Error(`no act ${rule.act}`);
    }
  }

  async #wait({ ms = 0, until, count = 1 }) {
    if (until !== undefined) await this.until(`${until} answered`, count);
    await pause(ms);
  }

  // An API beside FreshK, as Django with simplejwt: it answers the same to every token that is not good.
  async #ownApi(bearer) {
    const good = bearer !== undefined && (await this.server.call("POST", "/token/verify/", { token: bearer })).code === undefined;
    if (good) return { status: 200, json: { ok: true } };
    return { status: 401, json: { detail: "Given token not valid for any token type", code: "token_not_valid" } };
  }

  async #forward(request, content, name) {
    const [host, port] = this.server.address.split(":");
    const { method, url: path } = request;
    const headers = { ...request.headers, host: this.server.address };
    const answer = await new Promise((done, failed) => {
      const onward = call({ host, port, method, path, headers, agent: this.#agent }, done);
      onward.on("error", failed).end(content);
    });
    const bytes = await body(answer);
    if (answer.statusCode === 200) await this.#printed(name, content, bytes);
    const { connection, "transfer-encoding": chunked, "content-length": length, "keep-alive": alive, ...kept } = answer.headers;
    if (answer.statusCode === 200) this.#learn(bytes);
    return { status: answer.statusCode, headers: kept, bytes };
  }

  // Waits for the messages that a call has sent.
  async #printed(name, content, bytes) {
    if (name === "request" || name === "resend") return this.server.printed(this.phone);
    if (name === "phone") return this.server.printed(JSON.parse(content).phone_number);
    if (name !== "phone_verify") return undefined;
    const { phone_number, effective_at } = JSON.parse(bytes);
    if (effective_at !== null) return this.server.printed(this.phone); // the notice
    return void (this.phone = phone_number);
  }

  #learn(bytes) {
    const { access, refresh } = JSON.parse(bytes.toString() || "{}");
    if (access !== undefined && refresh !== undefined) this.issued.push({ access, refresh });
  }
}

function endpoint(request) {
  const path = request.url.replace(/\?.*$/, "");
  if (!path.startsWith(BASE)) return path.startsWith("/own/") ? "own" : "unknown";
  const found = ENDPOINTS.find(([, method, form]) => method === request.method && form.test(path.slice(BASE.length)));
  return found?.[0] ?? "unknown";
}

function fault(status, code, { retry_after, headers = {} } = {}) {
  const json = { error: "A sentence for a person.", code, request_id: "0" };
  if (retry_after === undefined) return { status, headers, json };
  return { status, headers: { ...headers, "Retry-After": String(retry_after) }, json: { ...json, retry_after } };
}

const given = (rule) => (rule.error === undefined ? rule : fault(rule.status, rule.error, rule));

// An answer with its bytes, whichever way it was told.
function whole({ status, headers = {}, json, html, bytes }) {
  if (bytes !== undefined) return { status, headers, bytes };
  const type = html === undefined ? "application/json" : "text/html";
  return { status, headers: { "Content-Type": type, ...headers }, bytes: Buffer.from(html ?? JSON.stringify(json) ?? "") };
}

function send(response, answer) {
  const { status, headers, bytes } = whole(answer);
  if (!response.destroyed) response.writeHead(status, { ...headers, "Content-Length": bytes.length }).end(bytes);
}

async function body(message) {
  const chunks = [];
  for await (const chunk of message) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function close(listener) {
  if (!listener.listening) return;
  const closed = once(listener, "close");
  listener.close();
  listener.closeAllConnections();
  await closed;
}
