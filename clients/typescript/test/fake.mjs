// What stands in for the server, the network and the device in the unit tests.
import { FreshK } from "../dist/index.js";

export const AUTH = "https://auth.example.com/api/mobile/auth";

export const pair = (generation) => ({ access: `h.access${generation}.s`, refresh: `h.refresh${generation}.s` });
export const json = (value, status = 200, headers = {}) =>
  new Response(JSON.stringify(value), { status, headers: { "Content-Type": "application/json", ...headers } });
export const refusal = (status, code, more = {}) => json({ error: "A sentence.", code, request_id: "r1", ...more }, status);
export const login = (generation = 0) => ({ ...pair(generation), user: { id: 1 }, message: "Authentication successful" });

/** A storage as AsyncStorage is one; `localStorage` answers at once. */
export class Memory {
  values = new Map();

  constructor(kept) {
    if (kept !== undefined) this.values.set("freshk", JSON.stringify(kept));
  }

  get kept() {
    return JSON.parse(this.values.get("freshk") ?? "null");
  }

  async getItem(key) {
    return this.values.get(key) ?? null;
  }

  async setItem(key, value) {
    this.values.set(key, value);
  }
}

/** Something that is let go by hand. */
export function gate() {
  let open;
  const opened = new Promise((done) => (open = done));
  return { opened, open };
}

/** Lets everything go on that waits for no timer. */
export async function settle() {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((done) => setImmediate(done));
}

/** A client in front of `answer(path, init, number)`; `calls` has what it was asked. */
export function client(answer, { storage = new Memory({ ...pair(0) }), ...options } = {}) {
  const calls = [];
  const fetch = async (url, init) => {
    const path = url.startsWith(AUTH) ? url.slice(AUTH.length) : url;
    calls.push({ path, method: init.method ?? "GET", headers: init.headers, body: init.body, init });
    return answer(path, init, calls.length - 1);
  };
  const freshk = new FreshK({ url: AUTH, storage, fetch, locks: undefined, ...options });
  return { freshk, calls, storage, paths: () => calls.map(({ path }) => path) };
}

/** A server whose session is at `generation`. */
export function server(generation = 0) {
  const state = { generation };
  return (path, init) => {
    if (path === "/token/refresh/") return json(pair((state.generation += 1)));
    if (init.headers.get("Authorization") !== `Bearer ${pair(state.generation).access}`) return refusal(401, "token_expired");
    return json({ authenticated: true, sessions: [], message: "Done", ok: true });
  };
}
