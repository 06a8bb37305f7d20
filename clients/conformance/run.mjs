// Runs the scenarios with one kit. Usage: node run.mjs [--server FILE] [--only TEXT] [--jobs N] [--verbose] -- DRIVER...
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

import { Driver } from "./driver.mjs";
import { play } from "./scenario.mjs";
import { Server } from "./server.mjs";

const { values, positionals } = parseArgs({
  options: {
    server: { type: "string", default: "target/debug/freshk" },
    only: { type: "string", default: "" },
    jobs: { type: "string", default: "6" },
    verbose: { type: "boolean", default: false },
  },
  allowPositionals: true,
});
if (positionals.length === 0) {
  console.error("give the command of the kit's driver behind --");
  process.exit(2);
}

const { server: program, verbose } = values;
const all = JSON.parse(readFileSync(new URL("scenarios.json", import.meta.url), "utf8"));
const chosen = all.map((scenario, number) => ({ scenario, number })).filter(({ scenario }) => scenario.name.includes(values.only));
// In memory where that can be had: the scenarios wait for thousands of commits, and no power is cut here.
const folder = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "freshk-conformance-"));
const storages = new Map();
const shared = new Driver(positionals, (message) => storages.get(message.storage).access(message), { verbose });
const common = new Server(resolve(program), folder);

// Whether a scenario needs a driver of its own: one that dies, or whose clock is wrong.
const isAlone = ({ clock, steps }) => clock !== undefined || steps.some((step) => step.die || isAlone({ steps: step.steps ?? [] }));

async function run({ scenario, number }) {
  const stage = { number, command: positionals, verbose, storages, phone: `+1202555${1000 + number}`, newPhone: `+1202556${1000 + number}` };
  if (!isAlone(scenario)) stage.driver = shared;
  if (scenario.server === undefined) return play(scenario, { ...stage, server: common });
  const server = new Server(resolve(program), mkdtempSync(join(folder, "own-")), scenario.server);
  try {
    await server.start();
    return await play(scenario, { ...stage, server });
  } finally {
    await server.stop();
  }
}

const failed = [];
async function work(queue) {
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    const began = performance.now();
    try {
      await run(next);
      console.log(`ok    ${next.scenario.name} (${Math.round(performance.now() - began)} ms)`);
    } catch (error) {
      failed.push(next);
      const reason = error.constructor.name === "Failure" ? error.message : error.stack;
      console.log(`FAIL  ${next.scenario.name}\n      ${reason.replaceAll("\n", "\n      ")}`);
    }
  }
}

// Whoever ends the harness ends what it started.
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));
process.on("exit", () => (Server.killAll(), shared.kill(), rmSync(folder, { recursive: true, force: true })));

await common.start();
try {
  const queue = [...chosen];
  await Promise.all(Array.from({ length: Number(values.jobs) }, () => work(queue)));
} finally {
  await common.stop();
}
if (failed.length > 0 && shared.log !== "") console.log(`--- the driver's standard error\n${shared.log}`);
console.log(`${chosen.length - failed.length} passed, ${failed.length} failed`);
process.exit(failed.length === 0 && chosen.length > 0 ? 0 : 1);
