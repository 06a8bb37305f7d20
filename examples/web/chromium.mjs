// A headless Chromium over the pipe of its DevTools protocol.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";

const PATIENCE = 60_000;
const LOOK = 50;

export class Chromium {
  #next = 1;
  #waiting = new Map();
  #pages = new Map();

  constructor(program, profile) {
    const options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe", `--user-data-dir=${profile}`];
    this.process = spawn(program, options, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
    this.process.on("exit", (code, signal) => {
      for (const { failed } of this.#waiting.values()) failed(new Error(`Chromium ended with ${code ?? signal}`));
      this.#waiting.clear();
    });
    let rest = "";
    this.process.stdio[4].on("data", (bytes) => {
      const messages = (rest + bytes).split("\0");
      rest = messages.pop();
      for (const message of messages) this.#hear(JSON.parse(message));
    });
  }

  async stop() {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const ended = once(this.process, "exit");
    this.process.kill("SIGKILL");
    await ended;
  }

  send(method, params = {}, sessionId = undefined) {
    const id = this.#next++;
    this.process.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    const answer = new Promise((done, failed) => this.#waiting.set(id, { done, failed: (error) => failed(new Error(`${method}: ${error.message}`)) }));
    const late = setTimeout(() => this.#waiting.get(id)?.failed(new Error("no answer")), PATIENCE);
    return answer.finally(() => clearTimeout(late));
  }

  /** A new tab. */
  async open(url) {
    const { targetId } = await this.send("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.send("Target.attachToTarget", { targetId, flatten: true });
    const page = new Page((method, params) => this.send(method, params, sessionId));
    this.#pages.set(sessionId, page);
    await page.send("Runtime.enable");
    await page.send("Page.enable");
    await page.send("Page.navigate", { url });
    return page;
  }

  #hear({ id, result, error, method, params, sessionId }) {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error !== undefined) return waiting?.failed(error);
    if (method === "Runtime.exceptionThrown") {
      const { text, exception } = params.exceptionDetails;
      this.#pages.get(sessionId)?.faults.push(exception?.description ?? text);
    }
    return waiting?.done(result);
  }
}

class Page {
  /** What the page's program threw and nobody caught. */
  faults = [];

  constructor(send) {
    this.send = send;
  }

  async evaluate(expression) {
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails !== undefined) throw new Error(`${expression}: ${exceptionDetails.exception?.description}`);
    return result.value;
  }

  /** Waits until an expression of the page is true. */
  async until(expression) {
    for (let tries = 0; tries < PATIENCE / LOOK; tries += 1) {
      if (await this.evaluate(expression).catch(() => false)) return;
      await new Promise((done) => setTimeout(done, LOOK));
    }
    throw new Error(`never: ${expression}\n${await this.evaluate("document.body.innerText")}\n${this.faults.join("\n")}`);
  }

  async type(selector, text) {
    await this.evaluate(`document.querySelector(${JSON.stringify(selector)}).select()`);
    await this.send("Input.insertText", { text });
  }

  async enter() {
    const key = { key: "Enter", code: "Enter", windowsVirtualKeyCode: 13, text: "\r" };
    await this.send("Input.dispatchKeyEvent", { type: "keyDown", ...key });
    await this.send("Input.dispatchKeyEvent", { type: "keyUp", ...key });
  }

  click(selector) {
    return this.evaluate(`document.querySelector(${JSON.stringify(selector)}).click()`);
  }

  close() {
    return this.send("Page.close");
  }

  reload() {
    return this.send("Page.reload");
  }

  async look({ width, height, dark }) {
    await this.send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: width < 600 });
    await this.send("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }] });
  }

  async screenshot(file) {
    await this.send("Page.bringToFront"); // a tab behind another one draws nothing
    const { data } = await this.send("Page.captureScreenshot", { format: "png" });
    writeFileSync(file, Buffer.from(data, "base64"));
  }
}
