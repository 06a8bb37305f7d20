// Runs the document's TypeScript through the scenarios. Usage: driver.mjs SNIPPET SCENARIOS FAKE AUTH CONSOLE
// SNIPPET is the compiled module, FAKE the address of fake.mjs; AUTH and CONSOLE are a real debug server's and its output.
import { deepStrictEqual as same } from "node:assert";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";

const [snippet, scenarioFile, fake, auth, consoleFile] = process.argv.slice(2);
const { LoggedOut, Session, TryAgain, verify } = await import(resolve(snippet));
const scenarios = JSON.parse(readFileSync(scenarioFile, "utf8"));
const TIMEOUT = 3000;
const PATIENCE = 10_000;
const PHONE = "+12025550171";

const http = async (url, method = "GET", body) => (await fetch(url, { method, body })).json();
const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

class MemoryStore {
  constructor(token, onWrite = async () => {}) {
    Object.assign(this, { token, onWrite, writes: 0 });
  }
  async read() {
    return this.token;
  }
  async write(token) {
    await this.onWrite();
    this.token = token;
    this.writes += 1;
  }
}

// How an act ended, as a word.
async function outcome(act) {
  let timer;
  const late = new Promise((done) => (timer = setTimeout(done, PATIENCE, "hangs")));
  const word = act().then(
    (answer) => (answer === undefined ? "done" : String(answer.status)),
    (error) => {
      if (error instanceof LoggedOut) return `logged_out:${error.code}`;
      if (error instanceof TryAgain) return error.afterSeconds === undefined ? "try_again" : `try_again:${error.afterSeconds}`;
      return "error";
    },
  );
  return Promise.race([word, late]).finally(() => clearTimeout(timer));
}

async function run(number, scenario) {
  const base = `${fake}/${number}`;
  await http(`${base}/begin`, "POST");
  let failing = false;
  let quiet = true;
  const store = new MemoryStore(scenario.start === "empty" ? null : "h.refresh0.s", async () => {
    if (failing) {
      failing = false;
      throw new Error("the device is full");
    }
    if (!quiet) await http(`${base}/stored`, "POST");
  });
  const session = new Session(base, store, TIMEOUT);
  if (scenario.start === undefined) await session.logIn({ access: "h.access0.s", refresh: "h.refresh0.s" });
  quiet = false;
  failing = scenario.store === "fails once";

  const acts = {
    call: () => session.call(`${base}/api`),
    "log out": () => session.logOut(),
    "log in with nothing": () => session.logIn({}),
    "log in meanwhile": async () => {
      const call = session.call(`${base}/api`);
      while (!(await http(`${base}/log`)).includes("refresh:0")) await pause(10);
      await session.logIn({ access: "o.access0.s", refresh: "o.refresh0.s" });
      return call;
    },
  };
  for (const { do: act, times = 1, expect } of scenario.steps) {
    const words = await Promise.all(Array.from({ length: times }, () => outcome(acts[act])));
    same(words, Array(times).fill(expect), act);
  }
  const log = await http(`${base}/log`);
  if (scenario.stored !== undefined) same(store.token, scenario.stored, "what is stored");
  if (scenario.log !== undefined) same(log, scenario.log, "what the server saw");
  if (scenario.refreshes !== undefined) same(log.filter((line) => line.startsWith("refresh")).length, scenario.refreshes, "refreshes");
  same(log.includes("stranger"), false, "a stranger saw the token");
}

// A whole life against the real server, whose access tokens live five seconds.
async function real() {
  const logIn = async (session) => {
    same((await session.post("/production/request/", { phone_number: PHONE })).status, 200);
    const codes = readFileSync(consoleFile, "utf8").matchAll(/SMS to (\+\d+) .*\n.*?(\d{6})/g);
    const code = [...codes].filter(([, phone]) => phone === PHONE).at(-1)[2];
    same((await verify(session, PHONE, code, randomUUID())).status, 200);
  };
  const store = new MemoryStore(null);
  const session = new Session(auth, store, PATIENCE);
  await logIn(session);
  const status = () => session.call(`${auth}/production/status/`);
  same(await outcome(status), "200");
  await pause(6500);
  same(await Promise.all(Array.from({ length: 50 }, () => outcome(status))), Array(50).fill("200"));
  same(store.writes, 2, "one login, one refresh");
  const restarted = new Session(auth, store, PATIENCE);
  same(await outcome(() => restarted.call(`${auth}/production/status/`)), "200");
  same(store.writes, 3);
  same((await restarted.call(`${auth}/logout/all/`, { method: "POST" })).status, 200);
  same(await outcome(() => restarted.call(`${auth}/production/status/`)), "logged_out:token_invalid");
}

const chosen = [...scenarios.entries()].map(([number, scenario]) => [scenario.name, () => run(number, scenario)]);
if (auth !== undefined) chosen.push(["a real server, from the login to the end", real]);
let failed = 0;
for (const [name, act] of chosen) {
  try {
    await act();
    console.log(`ok    ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${name}\n      ${error.message.replaceAll("\n", "\n      ")}`);
  }
}
console.log(`${chosen.length - failed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
