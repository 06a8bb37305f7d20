// Obeys the harness of clients/conformance, whose README has the protocol. Usage: driver.mjs, after `npm run build`.
import { createInterface } from "node:readline";

import { FreshK, FreshKError } from "../dist/index.js";

const offset = Number(process.env.CLOCK_OFFSET ?? 0) * 1000;
const now = Date.now;
Date.now = () => now() + offset;

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const clients = new Map();
const accesses = new Map();

// The harness keeps what is stored.
function storage(name) {
  const ask = (act) =>
    new Promise((done, failed) => {
      const call = accesses.size + 1;
      accesses.set(call, { done, failed });
      say({ storage: name, call, ...act });
    });
  return { getItem: () => ask({ get: true }), setItem: (_, value) => ask({ set: value }) };
}

// What a browser's `navigator.locks` does for its tabs.
const queues = new Map();
const locks = (storage) => ({
  async request(name, { signal }, act) {
    const key = `${storage} ${name}`;
    const before = queues.get(key) ?? Promise.resolve();
    const waiting = new Promise((_, failed) => signal?.addEventListener("abort", () => failed(signal.reason)));
    const turn = Promise.race([before, waiting]).then(act);
    queues.set(key, Promise.allSettled([before, turn]));
    return turn;
  },
});

const sent = async (call) => ({ delivery: (await call).deliveryId });

const acts = {
  open: (_, { client, url, origins, timeout, storage: name, locks: shared }) => {
    clients.set(client, new FreshK({ url, origins, timeout, storage: storage(name), locks: shared ? locks(name) : undefined }));
  },
  isLoggedIn: async (client) => ({ loggedIn: await client.isLoggedIn() }),
  requestCode: (client, { phone, channel }) => sent(client.requestCode(phone, channel)),
  resendCode: (client) => sent(client.resendCode()),
  delivery: async (client, { delivery }) => {
    const { state, retry_after } = await client.delivery(delivery);
    return { state, retryAfter: retry_after };
  },
  verify: async (client, { phone, code }) => ({ restored: (await client.verify(phone, code)).restored }),
  fetch: async (client, { url, method, body }) => {
    const headers = body === undefined ? {} : { "Content-Type": "application/json" };
    const answer = await client.fetch(url, { method, headers, ...(body === undefined ? {} : { body }) });
    return { status: answer.status, body: await answer.text() };
  },
  status: (client) => client.status(),
  sessions: async (client) => ({ sessions: (await client.sessions()).map(({ id }) => id) }),
  endSession: (client, { session }) => client.endSession(session),
  logout: (client) => client.logout(),
  logoutAll: (client) => client.logoutAll(),
  changePhone: (client, { phone }) => client.account.changePhone(phone),
  verifyPhone: async (client, { phone, code, current }) => ({ waits: (await client.account.verifyPhone(phone, code, current)).effective_at !== null }),
  keepPhone: (client) => client.account.keepPhone(),
  cancelPhoneChange: (client, { phone, code }) => client.account.cancelPhoneChange(phone, code),
  delete: async (client, { code }) => ({ waits: (await client.account.delete(code)).deletes_at !== undefined }),
  export: async (client) => ({ document: JSON.stringify(await client.account.export()) }),
};

async function obey(command) {
  try {
    const result = await acts[command.do](clients.get(command.client), command);
    say({ id: command.id, result: result ?? {} });
  } catch (error) {
    const { code, loggedOut, retryAfter, deliveryId: delivery, message, stack } = error;
    say({ id: command.id, error: error instanceof FreshKError ? { code, loggedOut, retryAfter, delivery, message } : { code: "bug", message: stack } });
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const message = JSON.parse(line);
  if (message.do !== undefined) {
    void obey(message);
  } else {
    const { done, failed } = accesses.get(message.call);
    if (message.failed === undefined) done(message.value);
    else failed(new Error(message.failed));
  }
}
process.exit();
