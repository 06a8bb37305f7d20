// The page /docs in a real browser: a call is tried and answered, a token is kept over a reload, and nothing is wider than the
// screen or beside it, on phone and desk, in light and dark. Usage: CHROMIUM=… node docs_page.mjs SERVER SCREENSHOTS
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

import { Server } from "../clients/conformance/server.mjs";
import { Chromium } from "../examples/web/chromium.mjs";

const [program, screenshots] = process.argv.slice(2);
const LOOKS = {
  "phone-light": { width: 360, height: 740, dark: false },
  "phone-dark": { width: 360, height: 740, dark: true },
  "desk-light": { width: 1280, height: 800, dark: false },
  "desk-dark": { width: 1280, height: 800, dark: true },
};
// What is beside the screen and cannot be scrolled to within the page: a box that scrolls shows its own content.
const beside = `[...document.querySelectorAll("body *")].filter((element) => {
  const { width, right } = element.getBoundingClientRect();
  if (width === 0 || right <= innerWidth + 1) return false;
  for (let around = element.parentElement; around !== null; around = around.parentElement) {
    if (["auto", "scroll"].includes(getComputedStyle(around).overflowX)) return false;
  }
  return true;
}).map(({ tagName, className }) => tagName + " " + className)`;
// Of the tables that scroll sideways in a page as narrow as a phone; what they hold is read without that.
const scrolls = `[...document.querySelectorAll(".responses-table, .responses-wrapper")].filter((box) => box.scrollWidth > box.clientWidth + 1).length`;
const dialog = `(({ top, bottom }) => top >= 0 && bottom <= innerHeight)(document.querySelector(".modal-ux").getBoundingClientRect())`;
const button = (selector) => `(() => {
  const button = document.querySelector(${JSON.stringify(selector)});
  button.scrollIntoView({ block: "center" });
  const { x, y, width, height } = button.getBoundingClientRect();
  return button.contains(document.elementFromPoint(x + width / 2, y + height / 2));
})()`;

const folder = mkdtempSync(join(tmpdir(), "freshk-docs-"));
mkdirSync(screenshots, { recursive: true });
const server = new Server(resolve(program), folder);
const browser = new Chromium(process.env.CHROMIUM ?? "chromium", join(folder, "profile"));

async function everyLook(page, name, holds = "true") {
  for (const [look, size] of Object.entries(LOOKS)) {
    await page.look(size);
    assert.equal(await page.evaluate("document.documentElement.scrollWidth > innerWidth"), false, `${name}, ${look}: wider than the screen`);
    assert.deepEqual(await page.evaluate(beside), [], `${name}, ${look}`);
    assert.equal(await page.evaluate(scrolls), 0, `${name}, ${look}: an answer is cut off`);
    assert.equal(await page.evaluate(holds), true, `${name}, ${look}: ${holds}`);
    await page.screenshot(join(screenshots, `docs-${name}-${look}.png`));
  }
}

try {
  await server.start();
  const page = await browser.open(`http://${server.address}/docs`);
  await page.look(LOOKS["phone-light"]);
  await page.until(`document.querySelectorAll(".opblock").length > 10`);
  await everyLook(page, "top");

  await page.click(".btn.authorize");
  await page.until(`document.querySelector(".modal-ux input") !== null`);
  await everyLook(page, "authorize", dialog);
  await page.evaluate(`document.querySelector(".modal-ux input").focus()`);
  await page.send("Input.insertText", { text: "a.token.of-a-test" });
  await page.click(".modal-ux .btn.authorize");
  await page.click(".modal-ux .btn-done");

  await page.reload();
  const status = "#operations-Production-status";
  await page.until(`document.querySelector("${status}") !== null`);
  await page.click(`${status} .opblock-summary-control`);
  await page.until(`document.querySelector("${status} .try-out__btn") !== null`);
  await page.click(`${status} .try-out__btn`);
  await page.until(`document.querySelector("${status} .execute") !== null`);
  await page.click(`${status} .execute`);
  await page.until(`document.querySelector("${status} .live-responses-table")?.textContent.includes("token_invalid") === true`);
  await page.evaluate(`document.querySelector("${status} .live-responses-table").scrollIntoView()`);
  await everyLook(page, "answer", button(`${status} .download-contents`));

  await page.evaluate(`document.querySelectorAll("${status} .tablinks").forEach((tab) => tab.dataset.name === "model" && tab.click())`);
  await page.evaluate(`document.querySelector("${status} .responses-wrapper").scrollIntoView()`);
  await everyLook(page, "schema");
  assert.deepEqual(page.faults, []);
  console.log("docs: tried, answered, kept over a reload; nothing beside the screen in four looks");
} finally {
  await browser.stop();
  await server.stop();
  Server.killAll();
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}
