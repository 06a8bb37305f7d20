// Plays one scenario and judges it.
import { Driver, Storage } from "./driver.mjs";
import { Proxy } from "./proxy.mjs";

const TIMEOUT = 30_000;
const CALLS = 3;
const SETUPS = ["expire", "network", "connection", "storage"];

class Failure extends Error {}

/** `stage` has the driver's `command`, a `server`, this scenario's `number`, the person's `phone`, and `newPhone`, which is nobody's yet. */
export async function play(scenario, stage) {
  const player = new Player(scenario, stage);
  await player.proxy.start();
  try {
    await player.play();
  } finally {
    await player.stop();
  }
}

class Player {
  #acts = 0;
  #messages = 0;
  #going = new Map();
  #elsewhereSession;
  #delivery;

  constructor(scenario, { phone, ...stage }) {
    Object.assign(this, { scenario, ...stage, oldPhone: phone });
    this.storage = new Storage((kind) => this.proxy.note(kind));
    this.proxy = new Proxy(this.server, phone, (token) => this.storage.wasStored(token));
    this.timeout = scenario.client?.timeout ?? TIMEOUT;
    if (this.driver === undefined) this.#startDriver();
    else stage.storages.set(`${this.number}s`, this.storage);
  }

  /** The person's number, as it is now. */
  get phone() {
    return this.proxy.phone;
  }

  get #sent() {
    return this.server.codes(this.oldPhone).length + this.server.codes(this.newPhone).length;
  }

  async stop() {
    await this.proxy.stop();
    if (this.mine) this.driver.kill();
  }

  async play() {
    const { start = "logged_in", steps, calls = {}, sms, sessions, end = "logged_in" } = this.scenario;
    await this.#open("a", { timeout: Math.max(this.timeout, TIMEOUT) });
    if (start === "logged_in") {
      await this.#expect({ do: "requestCode", expect: "ok" });
      await this.#expect({ do: "verify", expect: "ok" });
    }
    if (this.timeout < TIMEOUT) await this.#open("a");
    this.proxy.begin();
    this.#acts = 0;
    this.#messages = this.#sent;
    await this.#steps(steps);

    for (const [name, wanted] of Object.entries(calls)) {
      const [least, most] = [wanted].flat().length === 2 ? wanted : [wanted, wanted];
      const count = this.proxy.count(name);
      if (count < least || count > most) throw new Failure(`${name} was called ${count} times, not ${wanted}`);
    }
    const sent = this.#sent - this.#messages;
    if (sms !== undefined && sent !== sms) throw new Failure(`${sent} messages were sent, not ${sms}`);
    if (this.proxy.calls > CALLS * this.#acts) throw new Failure(`${this.proxy.calls} calls for ${this.#acts} acts`);
    await this.#judgeEnd(end);
    if (sessions !== undefined) {
      const { others } = await this.#login();
      if (others.length !== sessions) throw new Failure(`${others.length} sessions are open, not ${sessions}`);
    }
    if (this.proxy.faults.length > 0) throw new Failure(this.proxy.faults.join("\n"));
  }

  // Whether a new start of the app, on a good network, finds the session as the contract says.
  async #judgeEnd(end) {
    if (end === "any") return;
    this.proxy.rules = [];
    this.storage.rule = { act: "ok" };
    const left = this.proxy.issued.find(({ refresh }) => this.storage.value?.includes(refresh));
    if (end === "logged_out" && left !== undefined) throw new Failure("the storage still has a token");
    await this.#open("end", { url: "$auth", timeout: TIMEOUT });
    const before = this.proxy.calls;
    const word = end === "logged_in" ? "ok" : "logged_out:not_authenticated";
    await this.#expect({ do: "status", client: "end", expect: word }, "at the end");
    if (end === "logged_out" && this.proxy.calls !== before) throw new Failure("a client without a session called the server");
  }

  async #steps(steps) {
    for (const [index, step] of steps.entries()) {
      try {
        const going = this.#step(step);
        await (step.loop === undefined && step.repeat === undefined ? this.#bounded(going) : going);
      } catch (error) {
        error.message = `step ${index + 1} ${JSON.stringify(step).slice(0, 200)}: ${error.message}`;
        throw error;
      }
    }
  }

  async #step(step) {
    if (step.do !== undefined) return this.#command(step);
    if (step.wait !== undefined) {
      const words = await Promise.all(this.#going.get(step.wait));
      this.#going.delete(step.wait);
      return words.forEach((word) => judge(word, step.expect));
    }
    if (SETUPS.some((setup) => setup in step)) this.proxy.mark();
    if (step.expire) return this.proxy.expire();
    if (step.network !== undefined) {
      return void (this.proxy.rules = step.network.map((rule) => ({ ...rule, left: (rule.times ?? 1) || Infinity })));
    }
    if (step.connection !== undefined) return this.proxy.connect(step.connection);
    if (step.storage !== undefined) return void (this.storage.rule = { act: step.storage, on: step.on, left: step.times });
    if (step.until !== undefined) return this.proxy.until(step.until, step.count ?? 1);
    if (step.pause !== undefined) return new Promise((done) => setTimeout(done, step.pause));
    if (step.open !== undefined) return this.#open(step.open, step);
    if (step.die) return this.#die();
    if (step.elsewhere !== undefined) return this.#elsewhere(step.elsewhere);
    if (step.operator !== undefined) return this.server.operator([...step.operator, this.phone]);
    if (step.restart !== undefined) return this.server.restart(step.restart);
    if (step.loop !== undefined) {
      for (let turn = 0; turn < step.loop; turn += 1) await this.#steps(step.steps);
      return undefined;
    }
    throw new Failure("the harness does not know this step");
  }

  async #command(step) {
    if (step.as !== undefined) {
      const going = Array.from({ length: step.times ?? 1 }, () => this.#word(step));
      for (const word of going) word.catch(() => {}); // whoever waits for it hears of it
      this.#going.set(step.as, [...(this.#going.get(step.as) ?? []), ...going]);
      return;
    }
    for (let turn = 0; turn < (step.repeat ?? 1); turn += 1) await this.#expect(step);
  }

  async #expect(step, when = "") {
    const words = await Promise.all(Array.from({ length: step.times ?? 1 }, () => this.#bounded(this.#word(step))));
    for (const word of words) judge(word, step.expect, when);
  }

  // How one act of the app ended, as a word.
  async #word({ do: act, client = "a", ...step }) {
    this.#acts += 1;
    const { result, error } = await this.driver.command({ ...(await this.#arguments(act, step)), do: act, client: this.number + client });
    this.#delivery = (result ?? error).delivery ?? this.#delivery;
    if (error === undefined) return this.#ended(act, result);
    if (error.code === "bug") throw new Failure(`the kit threw ${error.message}`);
    return (error.loggedOut ? "logged_out:" : "") + error.code + wait(error);
  }

  // The word of an act that did not fail.
  #ended(act, result) {
    switch (act) {
      case "isLoggedIn":
        return result.loggedIn ? "yes" : "no";
      case "fetch":
        return String(result.status);
      case "verify":
        return result.restored ? "restored" : "ok";
      case "delivery":
        return result.state + wait(result);
      case "verifyPhone":
        return result.waits ? "waits" : "changed";
      case "delete":
        return result.waits ? "waits" : "deleted";
      case "export":
        return JSON.parse(result.document).user.phone_number === this.phone ? "ok" : "somebody else's";
      default:
        return "ok";
    }
  }

  async #arguments(act, { phone: given, code, current, channel, id, url, method, body }) {
    const phone = { old: this.oldPhone, new: this.newPhone }[given] ?? given ?? (act.endsWith("hone") ? this.newPhone : this.phone);
    const newest = code ?? this.server.codes(phone).at(-1) ?? "000000";
    switch (act) {
      case "requestCode":
        return { phone, ...(channel === undefined ? {} : { channel }) };
      case "verify":
      case "cancelPhoneChange":
        return { phone, code: newest };
      case "changePhone":
        return { phone };
      case "verifyPhone":
        return { phone, code: newest, ...(current ? { current: current === true ? this.server.codes(this.phone).at(-1) : current } : {}) };
      case "delete":
        return { code: newest };
      case "delivery":
        return { delivery: id ?? this.#delivery };
      case "fetch":
        return { url: this.#address(url), method: method ?? "GET", ...(body === undefined ? {} : { body }) };
      case "endSession":
        return { session: this.#elsewhereSession };
      default:
        return {};
    }
  }

  #address(url) {
    const { auth, own, other, stranger } = this.proxy;
    return url.replace(/\$(\w+)/g, (_, name) => ({ auth, own: `${own}/own`, other: `${other}/own`, stranger })[name]);
  }

  async #open(client, { url, locks, timeout } = {}) {
    const options = this.scenario.client ?? {};
    await this.#bounded(
      this.driver.command({
        do: "open",
        client: this.number + client,
        url: this.#address(url ?? options.url ?? "$auth"),
        origins: [this.proxy.other],
        timeout: timeout ?? this.timeout,
        storage: `${this.number}s`,
        locks: locks ?? options.locks ?? true,
      }),
    );
  }

  // A driver of this scenario alone.
  #startDriver() {
    this.mine = true;
    const { command, verbose, scenario } = this;
    this.driver = new Driver(command, (message) => this.storage.access(message), { clock: scenario.clock, verbose });
  }

  async #die() {
    this.driver.kill();
    this.#going.clear();
    this.#startDriver();
    await this.#open("a");
  }

  // Another device of the same person.
  async #elsewhere(act) {
    if (act === "reuse") return void (await this.server.call("POST", "/token/refresh/", { refresh: this.proxy.issued[0].refresh }));
    if (act === "guess") return this.#guess();
    if (act === "take") return this.#take();
    const { access, own, others } = await this.#login();
    this.#elsewhereSession = own;
    if (act === "logout_all") await this.server.call("POST", "/logout/all/", {}, access);
    if (act === "end_oldest") await this.server.call("DELETE", `/sessions/${others.at(-1).id}/`, undefined, access);
    return undefined;
  }

  async #requestCode() {
    await this.server.call("POST", "/production/request/", { phone_number: this.phone });
    await this.server.printed(this.phone);
    this.#messages += 1;
  }

  // Somebody else's account with the new number.
  async #take() {
    await this.server.call("POST", "/production/request/", { phone_number: this.newPhone });
    await this.server.printed(this.newPhone);
    this.#messages += 1;
    await this.server.call("POST", "/production/verify/", { phone_number: this.newPhone, otp: this.server.codes(this.newPhone).at(-1) });
  }

  async #guess() {
    await this.#requestCode();
    const code = this.server.codes(this.phone).at(-1);
    const wrong = code.replace(/^./, (digit) => String((Number(digit) + 1) % 10));
    for (let tries = 0; tries < 5; tries += 1) await this.server.call("POST", "/production/verify/", { phone_number: this.phone, otp: wrong });
  }

  async #login() {
    await this.#requestCode();
    const login = { phone_number: this.phone, otp: this.server.codes(this.phone).at(-1) };
    const { access } = await this.server.call("POST", "/production/verify/", login);
    const { sessions } = await this.server.call("GET", "/sessions/", undefined, access);
    return { access, own: sessions.find(({ current }) => current).id, others: sessions.filter(({ current }) => !current) };
  }

  // Four time-outs and ten seconds are more than any act needs.
  async #bounded(act) {
    const patience = 4 * this.timeout + 10_000;
    let timer;
    const late = new Promise((_, failed) => (timer = setTimeout(failed, patience, new Failure(`hangs: no end after ${patience} ms`))));
    return Promise.race([act, late]).finally(() => clearTimeout(timer));
  }
}

// How long the kit was told to wait.
const wait = ({ retryAfter }) => (retryAfter === undefined || retryAfter === null ? "" : `:${retryAfter}`);

function judge(word, expected, when = "") {
  const words = [expected].flat();
  const matches = (wanted) => wanted === "any" || wanted === word || (wanted.endsWith(":*") && word.startsWith(wanted.slice(0, -1)));
  if (!words.some(matches)) throw new Failure(`${when} ${word}, not ${words.join(" or ")}`.trim());
}
