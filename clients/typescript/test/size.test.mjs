import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { gzipSync } from "node:zlib";

const LIMIT = 4096;

test("the package is under 4 KiB, and imports nothing", () => {
  const built = readFileSync(new URL("../dist/index.js", import.meta.url));
  const size = gzipSync(built, { level: 9 }).length;
  assert.ok(size < LIMIT, `${size} bytes`);
  assert.doesNotMatch(built.toString(), /\b(import|require)\b/);
  console.log(`dist/index.js: ${size} bytes of ${LIMIT}`);
});

test("the package has no dependencies", () => {
  const { dependencies, peerDependencies, optionalDependencies } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url)));
  assert.deepEqual([dependencies, peerDependencies, optionalDependencies], [undefined, undefined, undefined]);
});
