// The server that is tested against, with its codes on the console, and the commands of its operator.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { promisify } from "node:util";

const START = 60_000;
// What limits it has would answer before the network does; a scenario that wants some sets them.
const SETTINGS = {
  FRESHK_LIMITS__IP: "0",
  FRESHK_LIMITS__USER: "0",
  FRESHK_LIMITS__FLOOD_PER_SECOND: "0",
  FRESHK_OPS__LISTEN: "off",
  FRESHK_LOG__LEVEL: "info",
  SECRET_KEY: "a-secret-of-the-conformance-tests-0123456789",
};

const running = new Set();

export class Server {
  #program;
  #settings;
  #process;
  #console = "";
  #printed = new Map();

  constructor(program, folder, settings = {}) {
    this.#program = program;
    this.#settings = { ...SETTINGS, DATABASE_URL: `sqlite://${join(folder, "freshk.db")}`, ...settings };
  }

  async start(settings = {}, address = "127.0.0.1:0") {
    Object.assign(this.#settings, settings);
    const server = spawn(this.#program, ["serve", "--dev", "--listen", address], { env: this.#environment() });
    this.#process = server;
    running.add(server);
    server.once("exit", () => running.delete(server));
    server.stdout.on("data", (text) => (this.#console += text));
    let log = "";
    this.address = await new Promise((found, failed) => {
      const late = setTimeout(() => failed(new Error(`the server did not start:\n${log}`)), START);
      server.stderr.on("data", (text) => {
        log = (log + text).slice(-10_000);
        const address = / serving address=([0-9.:]+)/.exec(log)?.[1];
        if (address !== undefined) clearTimeout(late), found(address);
      });
      server.on("exit", (code) => failed(new Error(`the server ended with ${code}:\n${log}`)));
      server.on("error", failed);
    });
  }

  /** Ends every server at once. */
  static killAll() {
    for (const server of running) server.kill("SIGKILL");
  }

  async stop() {
    if (this.#process === undefined || this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const ended = once(this.#process, "exit");
    this.#process.kill("SIGTERM");
    await ended;
  }

  async restart(settings) {
    await this.stop();
    await this.start(settings);
  }

  /** All codes that were sent to a phone, the newest last. */
  codes(phone) {
    return [...this.#console.matchAll(/SMS to (\+\d+) .*\n.*?(\d{6})/g)].filter((found) => found[1] === phone).map((found) => found[2]);
  }

  /** Waits until the console shows one more code: it may do so after the answer. */
  async printed(phone) {
    const known = (this.#printed.get(phone) ?? 0) + 1;
    this.#printed.set(phone, known);
    for (let tries = 0; tries < 500 && this.codes(phone).length < known; tries += 1) await new Promise((done) => setTimeout(done, 10));
  }

  /** A command of the operator. */
  async operator(words) {
    await promisify(execFile)(this.#program, words, { env: { ...this.#environment(), DEBUG: "true" } });
    // The running server sees the effect within a second.
    await new Promise((done) => setTimeout(done, 1100));
  }

  /** A call that does not pass the proxy; gives the answer's body. */
  async call(method, path, body, access) {
    const headers = { "Content-Type": "application/json" };
    if (access !== undefined) headers.Authorization = `Bearer ${access}`;
    const answer = await fetch(`http://${this.address}/api/mobile/auth${path}`, { method, headers, body: JSON.stringify(body) });
    return answer.json();
  }

  #environment() {
    const { PATH, HOME } = process.env;
    return { PATH, HOME, ...this.#settings };
  }
}
