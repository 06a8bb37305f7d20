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
import { Senders } from "./senders.mjs";

const [program, screenshots] = process.argv.slice(2);
const PHONE = "+12025550199";
const NEW = "+12025550188";
const ACCESS = 8;
const LOOKS = {
  "phone-light": { width: 360, height: 740, dark: false },
  "phone-dark": { width: 360, height: 740, dark: true },
  "desk-light": { width: 1280, height: 800, dark: false },
  "desk-dark": { width: 1280, height: 800, dark: true },
};

const folder = mkdtempSync(join(tmpdir(), "freshk-page-"));
mkdirSync(screenshots, { recursive: true });
const ends = [() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 })];
const shown = (screen) => `document.getElementById("${screen}").hidden === false`;
const says = (id, words) => `document.getElementById("${id}").textContent.includes(${JSON.stringify(words)})`;
const tells = (words) => `[...document.querySelectorAll(".delivery")].some((place) => place.checkVisibility() && place.textContent.includes(${JSON.stringify(words)}))`;
// Loses the answer to the page's next call of a path.
const loseOne = (path) => `{
  const real = fetch;
  globalThis.fetch = async (url, init) => {
    const answer = await real(url, init);
    if (!String(url).endsWith(${JSON.stringify(path)})) return answer;
    globalThis.fetch = real;
    throw new TypeError("connection reset");
  };
}`;
const nameless = `[...document.querySelectorAll("input")].filter((input) => input.labels.length !== 1).map(({ id }) => id)`;
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

async function logIn(page, server, phone = PHONE) {
  await page.until(shown("phone"));
  await page.type("#number", phone.replace("+1202555", "+1 (202) 555-"));
  await page.click("#phone button");
  await page.until(shown("code"));
  await typeCode(page, server, "#otp", phone);
  await page.click("#code button");
  await page.until(shown("home"));
}

// Gives the newest code of a number.
async function typeCode(page, server, field, phone) {
  await server.printed(phone);
  await page.type(field, server.codes(phone).at(-1));
}

// Asks for the number and gives the code that came to it.
async function proveNew(page, server) {
  await page.click("[data-do=openChange]");
  await page.until(shown("change"));
  await page.type("#new-number", "+1 202 555 0188");
  await page.click("#change button");
  await page.until(shown("prove"));
  await typeCode(page, server, "#new-otp", NEW);
}

async function askDeletion(page, server) {
  await page.click("[data-do=openDelete]");
  await page.click("[data-do=sendDeleteCode]");
  await page.until(shown("delete-prove"));
  await page.until(tells("has arrived"));
}

async function deleteAccount(page, server) {
  await typeCode(page, server, "#delete-otp", PHONE);
  await page.click("#delete-prove button");
  await page.until(shown("phone"));
}

const steps = {
  async "a number that is none is told, and a wrong code"({ page, server }) {
    await page.until(shown("phone"));
    assert.deepEqual(await page.evaluate(nameless), [], "each field has a label");
    assert.equal(await page.evaluate("document.activeElement.id"), "number");
    await photograph(page, "phone");
    await page.type("#number", "0123");
    await page.enter();
    await page.until(says("message", "international format"));
    assert.equal(await page.evaluate(`document.getElementById("number").ariaInvalid`), "true");
    await page.type("#number", PHONE);
    await page.click("#phone button");
    await page.until(shown("code"));
    await server.printed(PHONE);
    await page.until(tells("The text message has arrived."));
    await page.type("#otp", "00000");
    await page.enter();
    await page.until(says("message", "This code is wrong or no longer good."));
    assert.equal(await page.evaluate("document.activeElement.id"), "otp");
    await photograph(page, "code");
    await page.click("#code [data-do=openPhone]");
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
    await page.until(says("message", "no answer"));
    assert.equal(await page.evaluate(shown("retry")), true);
    await photograph(page, "retry");
    await server.start({}, address);
    await page.click("#retry button");
    await page.until(shown("home"));
  },

  async "a change of number waits with the new number's code alone, and is taken back"({ page, server }) {
    await proveNew(page, server);
    await page.click("#prove button");
    await page.until(says("notice", `Your number will be ${NEW} from`));
    await server.printed(PHONE); // the notice
    await page.reload();
    await page.until(shown("pending"));
    await photograph(page, "pending");
    await page.click("#pending button");
    await page.until(says("notice", "The change is taken back"));
    assert.equal(await page.evaluate(shown("pending")), false);
  },

  async "the code that came to the number before takes a change back, without a login"({ page, server }) {
    await proveNew(page, server);
    await page.click("#prove button");
    await page.until(shown("home"));
    await page.click("[data-do=logout]");
    await page.until(shown("phone"));
    await page.click("[data-do=openCancel]");
    await page.type("#old-number", PHONE);
    await page.type("#cancel-code", "00000");
    await page.enter();
    await page.until(says("message", "This code is wrong"));
    await photograph(page, "cancel");
    await typeCode(page, server, "#cancel-code", PHONE);
    await page.enter();
    await page.until(shown("phone"));
    await page.until(says("notice", "Your number stays."));
    await logIn(page, server);
  },

  async "with the codes of both numbers the number is changed, and changed back"({ page, server }) {
    await page.click("[data-do=openChange]");
    await photograph(page, "change");
    await page.click("#change [data-do=openHome]");
    await page.until(shown("home"));
    await proveNew(page, server);
    await page.click("[data-do=sendCurrent]");
    await page.until(shown("prove-current"));
    await page.until(tells("has arrived"));
    await photograph(page, "prove");
    await typeCode(page, server, "#current-otp", PHONE);
    await page.evaluate(loseOne("/account/phone/verify/"));
    await page.click("#prove button");
    await page.until(says("message", "no answer"));
    await page.click("#prove button");
    await page.until(says("notice", `Your number is ${NEW} now.`));
    assert.ok((await page.evaluate("document.body.innerText")).includes(`user_${NEW.slice(1)}`));
    await server.operator(["user", "set-phone", NEW, PHONE, "--yes"]);
    await page.reload();
    await page.until(shown("phone"));
    await logIn(page, server);
  },

  async "all that is kept is saved"({ page }) {
    await page.evaluate(`URL.createObjectURL = (blob) => ((window.saved = blob.text()), "data:,")`);
    await page.click("[data-do=save]");
    await page.until(says("notice", "saved"));
    const { user } = JSON.parse(await page.evaluate("window.saved"));
    assert.equal(user.phone_number, PHONE);
  },

  async "an account is deleted with the right code, and the device forgets all"({ page, server }) {
    await askDeletion(page, server);
    await page.type("#delete-otp", "00000");
    await page.click("#delete-prove button");
    await page.until(says("message", "This code is wrong"));
    await photograph(page, "delete");
    await deleteAccount(page, server);
    assert.equal(await page.evaluate(says("notice", "Your account is deleted.")), true);
    assert.deepEqual(await page.evaluate(stored), {});
  },

  async "within the grace of a deletion a login keeps the account"({ page, server, address }) {
    await server.stop();
    await server.start({ FRESHK_USERS__DELETION_GRACE: "1d" }, address);
    await logIn(page, server);
    await askDeletion(page, server);
    await deleteAccount(page, server);
    assert.equal(await page.evaluate(says("notice", "Log in before that to keep it.")), true);
    await photograph(page, "deleted");
    await logIn(page, server);
    await page.until(says("notice", "Your account is kept"));
    await page.click("[data-do=logout]");
    await page.until(shown("phone"));
  },

  async "a message that is lost is told, and a call brings another code"({ page, server, address, senders }) {
    await server.stop();
    await server.start(senders.settings, address);
    await page.type("#number", PHONE);
    await page.enter();
    await page.until(tells("The text message is on its way."));
    await photograph(page, "sent");
    await senders.report(server, "undelivered");
    await page.until(tells("could not be delivered"));
    await photograph(page, "undelivered");
    await page.click("[data-do=askVoice]");
    await page.until(tells("The call is on its way."));
    await page.type("#otp", senders.calls.at(-1));
    await page.enter();
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
  const files = spawn(process.execPath, [fileURLToPath(new URL("serve.mjs", import.meta.url)), port, `http://${address}/api/mobile/auth`, "voice"]);
  ends.unshift(() => files.kill());
  await once(files.stdout, "data");
  const senders = new Senders();
  await senders.start();
  ends.unshift(() => senders.stop());
  const browser = new Chromium(process.env.CHROMIUM, join(folder, "profile"));
  ends.unshift(() => browser.stop());
  const page = await browser.open(url);
  await page.look(LOOKS["phone-light"]);
  for (const [name, step] of Object.entries(steps)) {
    const began = performance.now();
    try {
      await step({ page, server, browser, url, address, senders });
      assert.deepEqual(page.faults, []);
      console.log(`ok    ${name} (${Math.round(performance.now() - began)} ms)`);
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
