import assert from "node:assert/strict";
import { test } from "node:test";

import { FreshK, FreshKError } from "../dist/index.js";
import { AUTH, client, gate, json, login, Memory, pair, refusal, server, settle } from "./fake.mjs";

const fails = (code, more = {}) => (error) => {
  assert.ok(error instanceof FreshKError, error.stack);
  assert.deepEqual({ code: error.code, loggedOut: error.loggedOut }, { code, loggedOut: false, ...more });
  return true;
};
const over = (code) => fails(code, { loggedOut: true });

test("a login sends a random key, the device's name and its token, and stores the pair, the key and the new token", async () => {
  const answer = (path) => (path === "/production/verify/" ? json(login(), 200, { "X-Device-Token": "d.new.s" }) : json({ expires_in: 600 }));
  const { freshk, calls, storage } = client(answer, { storage: new Memory({ device: "d.old.s" }), deviceName: "Zoë’s phone" });
  await freshk.requestCode("+12025550123");
  const { key } = storage.kept;
  assert.match(key, /^[0-9a-f]{32}$/);
  assert.equal((await freshk.verify("+12025550123", "123456")).user.id, 1);

  const [request, verify] = calls;
  assert.equal(request.headers.get("X-Device-Token"), "d.old.s");
  assert.equal(verify.headers.get("X-Device-Token"), "d.old.s");
  assert.equal(verify.headers.get("Idempotency-Key"), key);
  assert.equal(decodeURIComponent(verify.headers.get("X-Device-Name")), "Zoë’s phone");
  assert.deepEqual(JSON.parse(verify.body), { phone_number: "+12025550123", otp: "123456" });
  assert.deepEqual(storage.kept, { ...pair(0), device: "d.new.s", key });
});

test("a login without a name for the device sends none, and calls FreshK by no other header", async () => {
  const { freshk, calls } = client(() => json(login()), { storage: new Memory() });
  await freshk.verify("+12025550123", "123456");
  assert.deepEqual([...calls[0].headers.keys()], ["content-type", "idempotency-key"]);
});

test("the device's token outlives the session, the key does not", async () => {
  const { freshk, storage } = client(() => json({ message: "Logged out" }), { storage: new Memory({ ...pair(0), device: "d.d.s", key: "k" }) });
  await freshk.logout();
  assert.deepEqual(storage.kept, { device: "d.d.s" });
});

test("a refresh stores the device's token that comes with it", async () => {
  const { freshk, storage } = client((path, init) =>
    path === "/token/refresh/" ? json(pair(1), 200, { "X-Device-Token": "d.d.s" }) : server(1)(path, init),
  );
  await freshk.status();
  assert.deepEqual(storage.kept, { ...pair(1), device: "d.d.s" });
});

test("the message's name comes with the answer, where the server tells it", async () => {
  const { freshk } = client((path, _, number) => json({ expires_in: 600 }, 200, number === 0 ? { "X-Delivery-Id": "abc" } : {}));
  assert.deepEqual(await freshk.requestCode("+12025550123"), { expires_in: 600, deliveryId: "abc" });
  assert.deepEqual(await freshk.requestCode("+12025550123"), { expires_in: 600 });
});

test("an error has the server's code, its sentence, and the seconds to wait", async () => {
  const { freshk } = client(() => refusal(429, "rate_limited", { retry_after: 30 }));
  await assert.rejects(freshk.requestCode("+12025550123"), (error) => {
    const { code, message, status, retryAfter, requestId, loggedOut, name } = error;
    const expected = { code: "rate_limited", message: "A sentence.", status: 429, retryAfter: 30, requestId: "r1", loggedOut: false };
    assert.deepEqual({ code, message, status, retryAfter, requestId, loggedOut }, expected);
    return name === "FreshKError";
  });
});

test("the access token goes to FreshK's origin and to those that are named, and to no look-alike", async () => {
  const { freshk, calls } = client(server(), { origins: ["https://api.example.com"] });
  const allowed = ["https://api.example.com/a", "https://auth.example.com/b?c", "/d", "https://api.example.com", "https://api.example.com#x"];
  for (const url of allowed) assert.equal((await freshk.fetch(url)).status, 200, url);
  assert.equal((await freshk.fetch(new URL("https://api.example.com/e"))).status, 200);
  assert.equal(calls[2].path, "https://auth.example.com/d");
  const before = calls.length;
  const refused = [
    "https://api.example.com.evil.com/", "https://api.example.com@evil.com/", "https://api.example.com:8443/", "http://api.example.com/",
    "https://api.example.com\\@evil.com/", "https://api.example.com\t.evil.com/", " https://api.example.com/", "https:api.example.com/",
    "HTTPS://API.EXAMPLE.COM.evil.com/", "https:///api.example.com/", "ftp://api.example.com/", "javascript:alert(1)", "orders", "",
  ];
  for (const url of refused) await assert.rejects(freshk.fetch(url), fails("origin_not_allowed"), url);
  assert.equal(calls.length, before);
});

test("a path that looks like a host stays at FreshK's own", async () => {
  const { freshk, calls } = client(server());
  await freshk.fetch("//evil.com/a");
  await freshk.fetch("/\\evil.com/a");
  assert.deepEqual(calls.map(({ path }) => new URL(path).host), ["auth.example.com", "auth.example.com"]);
});

test("an answer comes as it is, with its bytes and headers; one without a body too", async () => {
  const bytes = Uint8Array.of(0, 255, 128, 10);
  const answers = [new Response(bytes, { status: 206, headers: { "X-Some": "thing" } }), new Response(null, { status: 204 })];
  const { freshk } = client((_, __, number) => answers[number]);
  const answer = await freshk.fetch("/picture");
  assert.equal(answer.status, 206);
  assert.equal(answer.headers.get("X-Some"), "thing");
  assert.deepEqual(new Uint8Array(await answer.arrayBuffer()), bytes);
  const empty = await freshk.fetch("/picture", { method: "DELETE" });
  assert.deepEqual([empty.status, await empty.text()], [204, ""]);
});

test("a refused answer that is given to the app can still be read", async () => {
  const { freshk } = client((path) => (path === "/token/refresh/" ? json(pair(1)) : refusal(401, "token_invalid")));
  const answer = await freshk.fetch("/orders");
  assert.equal((await answer.json()).code, "token_invalid");
});

test("a call is repeated as it was, with its headers and body", async () => {
  const { freshk, calls } = client(server(1));
  await freshk.fetch("/orders", { method: "PUT", headers: { "X-Some": "thing", authorization: "Basic x" }, body: "{}" });
  const [first, , second] = calls;
  for (const { method, headers, body } of [first, second]) {
    assert.deepEqual([method, headers.get("X-Some"), body], ["PUT", "thing", "{}"]);
  }
  assert.equal(second.headers.get("Authorization"), `Bearer ${pair(2).access}`);
});

test("no call follows a redirect, whatever the app asks for", async () => {
  const { freshk, calls } = client(server());
  await freshk.fetch("/orders", { redirect: "follow" });
  await freshk.logout();
  assert.deepEqual(calls.map(({ init }) => init.redirect), ["error", "error"]);
});

test("every call has a time-out, and none is left behind", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const signals = [];
  const { freshk } = client((path, init) => (signals.push(init.signal), new Promise(() => {})), { timeout: 5000 });
  const call = assert.rejects(freshk.status(), fails("no_answer"));
  await settle();
  context.mock.timers.tick(4999);
  await settle();
  assert.equal(signals[0].aborted, false);
  context.mock.timers.tick(1);
  await call;
  assert.equal(signals[0].aborted, true, "the connection is given up");
});

test("the time-out ends a body that never ends, in a fetch that ignores its signal", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const endless = () => new Response(new ReadableStream({ pull: () => new Promise(() => {}) }));
  const { freshk } = client(endless, { timeout: 5000 });
  const call = assert.rejects(freshk.fetch("/orders"), fails("no_answer"));
  await settle();
  context.mock.timers.tick(5000);
  await call;
});

test("a time-out that has passed after an answer takes nothing from it", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { freshk } = client(server());
  const answer = await freshk.fetch("/orders");
  context.mock.timers.tick(3_600_000);
  await settle();
  assert.equal((await answer.json()).ok, true);
});

test("an app may give a call up: it gets its own reason, and the refresh that others wait for goes on", async () => {
  const { opened, open } = gate();
  const { freshk, storage } = client(async (path, init) => {
    if (path !== "/token/refresh/") return server(1)(path, init);
    await opened;
    return json(pair(1));
  });
  const abort = new AbortController();
  const given = freshk.fetch("/orders", { signal: abort.signal });
  const other = freshk.status();
  await settle();
  const reason = new Error("the screen is closed");
  abort.abort(reason);
  open();
  await assert.rejects(given, (error) => error === reason);
  assert.equal((await other).authenticated, true);
  assert.deepEqual(storage.kept, pair(1));
});

test("an app that has given a call up before it began sends nothing", async () => {
  const { freshk } = client((path, init) => (init.signal.throwIfAborted(), json({})));
  await assert.rejects(freshk.fetch("/orders", { signal: AbortSignal.abort() }), { name: "AbortError" });
});

test("a pair is stored before any call uses it, however slow the storage is", async () => {
  const { opened, open } = gate();
  const storage = new Memory(pair(0));
  storage.setItem = async (key, value) => (await opened, storage.values.set(key, value));
  const { freshk, paths } = client(server(1), { storage });
  const calls = [freshk.status(), freshk.status()];
  await settle();
  assert.deepEqual(paths(), ["/production/status/", "/production/status/", "/token/refresh/"]);
  open();
  await Promise.all(calls);
  assert.equal(paths().length, 5);
});

test("a storage that throws at once is a failure as any other", async () => {
  const storage = { getItem: () => { throw new Error("locked"); }, setItem: () => {} };
  const { freshk, calls } = client(server(), { storage });
  await assert.rejects(freshk.status(), fails("storage_failed"));
  await assert.rejects(freshk.isLoggedIn(), fails("storage_failed"));
  await assert.rejects(freshk.verify("+12025550123", "123456"), fails("storage_failed"));
  assert.equal(calls.length, 0);
});

test("a storage that answers at once, as localStorage, will do", async () => {
  const values = new Map([["mine", JSON.stringify(pair(0))]]);
  const storage = { getItem: (key) => values.get(key) ?? null, setItem: (key, value) => void values.set(key, value) };
  const { freshk } = client(server(1), { storage, key: "mine" });
  assert.equal((await freshk.status()).authenticated, true);
  assert.deepEqual(JSON.parse(values.get("mine")), pair(2));
});

test("what is stored and is no session is none", async () => {
  for (const text of ["", "null", "[]", "{", "17", '{"access":1,"refresh":2}', '{"access":"h.a.s"}']) {
    const { freshk, calls } = client(server(), { storage: { getItem: () => text, setItem: () => {} } });
    assert.equal(await freshk.isLoggedIn(), false, text);
    await assert.rejects(freshk.status(), over("not_authenticated"));
    assert.equal(calls.length, 0);
  }
});

test("a slow write of the past never overwrites a newer one", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const storage = new Memory(pair(0));
  const gates = [gate(), gate()];
  let writes = 0;
  storage.setItem = async (key, value) => (await gates[writes++]?.opened, storage.values.set(key, value));
  const answer = server(1);
  const { freshk } = client((path, init) => (path === "/logout/" ? json({ message: "Logged out" }) : answer(path, init)), { storage, timeout: 1000 });
  const call = assert.rejects(freshk.status(), fails("storage_failed"));
  await settle();
  context.mock.timers.tick(1000); // the pair is being written still
  await call;
  const logout = assert.rejects(freshk.logout(), fails("storage_failed"));
  await settle();
  context.mock.timers.tick(1000); // reading what is stored waits for that write
  await settle();
  context.mock.timers.tick(1000);
  await settle();
  context.mock.timers.tick(1000);
  await logout;
  gates.forEach(({ open }) => open());
  await settle();
  assert.equal(await freshk.isLoggedIn(), true, "nothing was forgotten, and the app was told so");
  await freshk.logout();
  assert.deepEqual(storage.kept, {});
});

test("a log-out ends a refresh that is running, and what it brings is not stored", async () => {
  const { opened, open } = gate();
  const answer = async (path, init) => {
    if (path === "/logout/") return json({ message: "Logged out" });
    if (path !== "/token/refresh/") return refusal(401, "token_expired");
    init.signal.addEventListener("abort", open);
    await opened;
    init.signal.throwIfAborted();
    return json(pair(1));
  };
  const told = [];
  const { freshk, storage, paths } = client(answer, { onLogout: (code) => told.push(code) });
  const call = assert.rejects(freshk.status(), over("not_authenticated"));
  await settle();
  await freshk.logout();
  await call;
  assert.deepEqual(paths(), ["/production/status/", "/token/refresh/", "/logout/"]);
  assert.deepEqual(storage.kept, {});
  assert.deepEqual(told, [], "who logs out knows it");
});

test("a log-out that the server does not hear is told, and the device has forgotten", async () => {
  const { freshk, storage } = client(() => refusal(503, "unavailable", { retry_after: 3 }));
  await assert.rejects(freshk.logout(), fails("unavailable"));
  assert.deepEqual(storage.kept, {});
  assert.equal(await freshk.isLoggedIn(), false);
});

test("the end of a session is told once, to all who wait and to the app, and the app's faults are its own", async () => {
  const told = [];
  const { freshk, calls } = client((path) => refusal(401, path === "/token/refresh/" ? "token_reused" : "token_invalid"), {
    onLogout: (code) => told.push(code),
  });
  const words = await Promise.allSettled([freshk.status(), freshk.sessions(), freshk.fetch("/orders")]);
  assert.deepEqual(words.map(({ reason }) => [reason.code, reason.loggedOut, reason.message, reason.status]), Array(3).fill(["token_reused", true, "A sentence.", 401]));
  assert.deepEqual(told, ["token_reused"]);
  assert.equal(calls.filter(({ path }) => path === "/token/refresh/").length, 1);
});

test("a code of the end with another status is not the server's", async () => {
  const { freshk, storage } = client((path) => refusal(path === "/token/refresh/" ? 500 : 401, "token_invalid"));
  await assert.rejects(freshk.status(), fails("token_invalid"));
  assert.deepEqual(storage.kept, pair(0));
});

test("a session that ends does not take along one that another process has begun", async () => {
  const storage = new Memory(pair(0));
  const { freshk } = client(
    async (path) => {
      if (path === "/token/refresh/") await storage.setItem("freshk", JSON.stringify(pair(7)));
      return refusal(401, "token_invalid");
    },
    { storage },
  );
  await assert.rejects(freshk.status(), over("token_invalid"));
  assert.deepEqual(storage.kept, pair(7));
});

test("a log-out in another tab is told to the app", async () => {
  const told = [];
  const { freshk, storage } = client(server(), { onLogout: (code) => told.push(code) });
  await freshk.status();
  storage.values.clear();
  const { freshk: other } = client(() => refusal(401, "token_invalid"), { storage, onLogout: (code) => told.push(code) });
  await assert.rejects(other.status(), over("not_authenticated"));
  assert.deepEqual(told, [], "it never knew of a session");
  await assert.rejects(freshkAfterExpiry(freshk), over("not_authenticated"));
  assert.deepEqual(told, ["not_authenticated"]);
});

// Makes the client's access token worthless, as after a quarter of an hour.
async function freshkAfterExpiry(freshk) {
  freshk.options.fetch = async () => refusal(401, "token_expired");
  return freshk.status();
}

test("tabs take turns where there are locks, and none waits for ever", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const asked = [];
  const locks = {
    request: (name, { signal }) => new Promise((_, fail) => (asked.push(name), signal.addEventListener("abort", () => fail(signal.reason)))),
  };
  const { freshk, calls } = client(server(), { locks, timeout: 1000 });
  const call = assert.rejects(freshk.status(), fails("no_answer"));
  await settle();
  context.mock.timers.tick(3000);
  await call;
  assert.deepEqual([asked, calls.length], [["freshk:freshk"], 0]);
});

test("a device without crypto, navigator and fetch of the browser's kind draws its key all the same", async () => {
  const crypto = Object.getOwnPropertyDescriptor(globalThis, "crypto");
  Object.defineProperty(globalThis, "crypto", { value: undefined, configurable: true });
  try {
    const storage = new Memory();
    const freshk = new FreshK({ url: `${AUTH}/`, storage, fetch: async () => json({ expires_in: 600 }) });
    await freshk.requestCode("+12025550123");
    assert.match(storage.kept.key, /^[0-9a-f]{32}$/);
  } finally {
    Object.defineProperty(globalThis, "crypto", crypto);
  }
});

test("the account's calls are the contract's", async () => {
  const { freshk, calls } = client((path) =>
    json({ message: "Done", expires_in: 600, effective_at: null, state: "sent", channel: "sms", user: {}, path }),
    { storage: new Memory({ ...pair(0), device: "d.d.s" }) },
  );
  const { account } = freshk;
  await account.changePhone("+12025550124");
  assert.equal((await account.verifyPhone("+12025550124", "123456", "654321")).effective_at, null);
  await account.keepPhone();
  await account.cancelPhoneChange("+12025550124", "abc");
  await account.export();
  assert.equal((await freshk.delivery("a/b")).state, "sent");
  await freshk.endSession("s/1");
  await freshk.logoutAll();
  const seen = calls.map(({ path, method, headers, body }) => [
    method, path, headers.has("Authorization"), headers.get("X-Device-Token"), body === undefined ? undefined : JSON.parse(body),
  ]);
  assert.deepEqual(seen, [
    ["POST", "/account/phone/", true, "d.d.s", { phone_number: "+12025550124" }],
    ["POST", "/account/phone/verify/", true, "d.d.s", { phone_number: "+12025550124", otp: "123456", current_otp: "654321" }],
    ["DELETE", "/account/phone/", true, null, undefined],
    ["DELETE", "/account/phone/", false, null, { phone_number: "+12025550124", cancel_code: "abc" }],
    ["GET", "/account/export/", true, null, undefined],
    ["GET", "/production/delivery/a%2Fb/", false, null, undefined],
    ["DELETE", "/sessions/s%2F1/", true, null, undefined],
    ["POST", "/logout/all/", true, "d.d.s", undefined],
  ]);
});

test("a deletion forgets everything, the device's token too unless a login can restore the account", async () => {
  for (const [deletes_at, kept] of [[undefined, {}], ["2026-12-01T00:00:00Z", { device: "d.d.s" }]]) {
    const { freshk, storage } = client(() => json({ message: "Deleted", deletes_at }), { storage: new Memory({ ...pair(0), device: "d.d.s", key: "k" }) });
    assert.equal((await freshk.account.delete("123456")).deletes_at, deletes_at);
    assert.deepEqual(storage.kept, kept);
    assert.equal(await freshk.isLoggedIn(), false);
    await assert.rejects(freshk.status(), over("not_authenticated"));
  }
});

test("the delivery of a code is asked about by the header's id, also where its sending failed and it may still arrive", async () => {
  const id = { "X-Delivery-Id": "d1" };
  const answers = [json({ expires_in: 600 }, 200, id), json({ expires_in: 600 }), json({ error: "No.", code: "sms_delivery_failed" }, 500, id)];
  const { freshk } = client(() => answers.shift(), { storage: new Memory() });
  assert.equal((await freshk.requestCode("+12025550123")).deliveryId, "d1");
  assert.equal("deliveryId" in (await freshk.requestCode("+12025550123")), false);
  await assert.rejects(freshk.requestCode("+12025550123"), ({ code, deliveryId }) => code === "sms_delivery_failed" && deliveryId === "d1");
});

test("another way is asked for by its name alone", async () => {
  const { freshk, calls } = client(() => json({ expires_in: 600 }), { storage: new Memory() });
  await freshk.requestCode("+12025550123");
  await freshk.requestCode("+12025550123", "voice");
  const bodies = calls.map(({ body }) => JSON.parse(body));
  assert.deepEqual(bodies, [{ phone_number: "+12025550123" }, { phone_number: "+12025550123", channel: "voice" }]);
});
