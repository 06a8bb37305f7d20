// A kit's driver as the harness sees it: a process that obeys lines; and the storages, which outlive it.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

const SLOW = 300;

export class Driver {
  #process;
  #next = 1;
  #waiting = new Map();
  #ended;
  /** What it wrote to its standard error. */
  log = "";

  /** `command` is the program and its arguments; `access` answers what the kit asks of a storage. */
  constructor(command, access, { clock = 0, verbose = false } = {}) {
    const [program, ...words] = command;
    const env = { ...process.env, CLOCK_OFFSET: String(clock) };
    this.#process = spawn(program, words, { env });
    this.#process.stderr.on("data", (text) => (this.log = (this.log + text).slice(-20_000)));
    this.#process.stdin.on("error", () => {}); // it has ended: its exit says so
    this.#process.on("error", (error) => this.#end(`the driver does not start: ${error.message}`));
    this.#process.on("exit", (code, signal) => this.#end(`the driver ended with ${code ?? signal}\n${this.log}`));
    this.verbose = verbose;
    createInterface({ input: this.#process.stdout }).on("line", (line) => this.#hear(line, access));
  }

  /** Does one command and gives the line that answers it. */
  async command(command) {
    const id = this.#next++;
    if (this.#ended !== undefined) throw new Error(this.#ended);
    return new Promise((done, failed) => {
      this.#waiting.set(id, { done, failed });
      this.#say({ id, ...command });
    });
  }

  kill() {
    this.#waiting.clear(); // nobody waits for the dead
    this.#process.kill("SIGKILL");
  }

  #say(line) {
    const text = JSON.stringify(line);
    if (this.verbose) console.log(`> ${text}`);
    this.#process.stdin.write(`${text}\n`);
  }

  #hear(line, access) {
    if (this.verbose) console.log(`< ${line}`);
    const message = JSON.parse(line);
    if (message.storage !== undefined) {
      return void access(message).then((reply) => reply !== undefined && this.#say({ call: message.call, ...reply }));
    }
    this.#waiting.get(message.id)?.done(message);
    return void this.#waiting.delete(message.id);
  }

  #end(reason) {
    this.#ended = reason;
    for (const { failed } of this.#waiting.values()) failed(new Error(reason));
    this.#waiting.clear();
  }
}

export class Storage {
  value = null;
  rule = { act: "ok" };
  #held = "";

  /** `note` hears of each `get` and `set`. */
  constructor(note) {
    this.note = note;
  }

  wasStored(token) {
    return this.#held.includes(token);
  }

  /** The reply to one access; none where the storage says nothing. */
  async access(message) {
    const kind = "set" in message ? "set" : "get";
    const act = this.#act(kind);
    if (kind === "set" && act === "slow") await new Promise((done) => setTimeout(done, SLOW));
    if (act !== "fail" && act !== "hang" && kind === "set") {
      this.value = message.set;
      if (message.set !== null) this.#held += `\n${message.set}`;
    }
    const value = this.value;
    this.note(kind);
    if (kind === "get" && act === "slow") await new Promise((done) => setTimeout(done, SLOW));
    if (act === "fail") return { failed: "the disk is full" };
    return act === "hang" || act === "lost" ? undefined : { value };
  }

  #act(kind) {
    const { act, on = kind, left } = this.rule;
    if (on !== kind || left === 0) return "ok";
    if (left !== undefined) this.rule.left -= 1;
    return act;
  }
}
