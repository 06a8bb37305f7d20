// The page in a real browser, over two origins. Usage: CHROMIUM=… node test.mjs SERVER SCREENSHOTS
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

import { Server } from "../../clients/conformance/server.mjs";
import { Chromium } from "./chromium.mjs";

const [program, screenshots] = process.argv.slice(2);
const PHONE = "+12025550199";
const ACCESS = 8;
const LOOKS = {
  "phone-light": { width: 390, height: 844, dark: false },
  "phone-dark": { width: 390, height: 844, dark: true },
  "desk-light": { width: 1280, height: 800, dark: false },
  "desk-dark": { width: 1280, height: 800, dark: true },
};

const folder = mkdtempSync(join(tmpdir(), "freshk-page-"));
mkdirSync(screenshots, { recursive: true });
const ends = [() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 })];
const shown = (screen) => `document.getElementById("${screen}").hidden === false`;
const stored = `JSON.parse(localStorage.getItem("freshk") ?? "{}")`;

async function freePort() {
  const listener = createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address();
  listener.close();
  await once(listener, "close");
  return port;
}

async function photograph(page, name) {
  for (const [look, size] of Object.entries(LOOKS)) {
    await page.look(size);
    assert.equal(await page.evaluate("document.documentElement.scrollWidth > innerWidth"), false, `${name}, ${look}: wider than the screen`);
    await page.screenshot(join(screenshots, `${name}-${look}.png`));
  }
  await page.look(LOOKS["phone-light"]);
}

async function logIn(page, server) {
  await page.until(shown("phone"));
  await page.type("#number", "+1 (202) 555-0199");
  await page.click("#phone button");
  await page.until(shown("code"));
  await server.printed(PHONE);
  await page.type("#otp", server.codes(PHONE).at(-1));
  await page.click("#code button");
  await page.until(shown("home"));
}

const steps = {
  async "a number that is none is told, and a wrong code"({ page, server }) {
    await page.until(shown("phone"));
    await photograph(page, "phone");
    await page.type("#number", "0123");
    await page.click("#phone button");
    await page.until(`document.getElementById("message").textContent.includes("international format")`);
    await page.type("#number", PHONE);
    await page.click("#phone button");
    await page.until(shown("code"));
    await server.printed(PHONE);
    await page.type("#otp", "00000");
    await page.click("#code button");
    await page.until(`document.getElementById("message").textContent === "Invalid or expired OTP"`);
    await photograph(page, "code");
    await page.click("[data-do=back]");
  },

  async "a login, and home"({ page, server }) {
    await logIn(page, server);
    const text = await page.evaluate("document.body.innerText");
    for (const word of [PHONE, "retailer", "This device", "Browser on"]) assert.ok(text.includes(word), `${word} in\n${text}`);
  },

  async "another device appears, and is logged out"({ page, server }) {
    await server.call("POST", "/production/request/", { phone_number: PHONE });
    await server.printed(PHONE);
    await server.call("POST", "/production/verify/", { phone_number: PHONE, otp: server.codes(PHONE).at(-1) });
    await page.reload();
    await page.until(`document.querySelectorAll("#devices li").length === 2`);
    await photograph(page, "home");
    await page.click("#devices button");
    await page.until(`document.querySelectorAll("#devices li").length === 1`);
  },

  async "after the access token's life two tabs refresh once, and stay"({ page, browser, url }) {
    const other = await browser.open(url);
    await other.until(shown("home"));
    const { refresh } = await page.evaluate(stored);
    await new Promise((done) => setTimeout(done, (ACCESS + 2) * 1000));
    await Promise.all([page.reload(), other.reload()]);
    await Promise.all([page, other].map((tab) => tab.until(shown("home"))));
    const generation = (token) => JSON.parse(Buffer.from(token.split(".")[1], "base64url")).gen;
    assert.equal(generation((await page.evaluate(stored)).refresh), generation(refresh) + 1);
    assert.deepEqual(other.faults, []);
    await page.click("[data-do=logout]");
    await page.until(shown("phone"));
    await other.until(shown("phone"));
    assert.equal((await other.evaluate(stored)).refresh, undefined);
    await other.close();
  },

  async "a session that ends elsewhere shows the login"({ page, server }) {
    await logIn(page, server);
    const { access } = await page.evaluate(stored);
    await server.call("POST", "/logout/all/", {}, access);
    await page.reload();
    await page.until(shown("phone"));
    assert.equal(await page.evaluate(`document.getElementById("message").textContent`), "You are logged out. Log in again.");
  },

  async "without a server the page offers to try again, and nobody is logged out"({ page, server, address }) {
    await logIn(page, server);
    await server.stop();
    await page.reload();
    await page.until(`document.getElementById("message").textContent.includes("no answer")`);
    assert.equal(await page.evaluate(shown("retry")), true);
    await photograph(page, "retry");
    await server.start({}, address);
    await page.click("[data-do=retry]");
    await page.until(shown("home"));
  },
};

let failed = 0;
try {
  const [port, api] = [await freePort(), await freePort()];
  const address = `127.0.0.1:${api}`;
  const url = `http://127.0.0.1:${port}/`;
  const server = new Server(resolve(program), folder, {
    FRESHK_SERVER__CORS_ORIGINS: `http://127.0.0.1:${port}`,
    FRESHK_TOKENS__ACCESS_TTL: `${ACCESS}s`,
  });
  ends.unshift(() => server.stop());
  await server.start({}, address);
  const files = spawn(process.execPath, [fileURLToPath(new URL("serve.mjs", import.meta.url)), port, `http://${address}/api/mobile/auth`]);
  ends.unshift(() => files.kill());
  await once(files.stdout, "data");
  const browser = new Chromium(process.env.CHROMIUM, join(folder, "profile"));
  ends.unshift(() => browser.stop());
  const page = await browser.open(url);
  await page.look(LOOKS["phone-light"]);
  for (const [name, step] of Object.entries(steps)) {
    try {
      await step({ page, server, browser, url, address });
      assert.deepEqual(page.faults, []);
      console.log(`ok    ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAIL  ${name}\n      ${error.stack.replaceAll("\n", "\n      ")}`);
      break; // each step goes on where the one before ended
    }
  }
} finally {
  for (const end of ends) await end();
}
console.log(failed === 0 ? `${Object.keys(steps).length} passed, 0 failed` : "1 failed");
process.exit(failed);
