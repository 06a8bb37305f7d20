#!/usr/bin/env node
// A sender of kind http for FreshK, in Node without packages: replace `handOver` by your provider's call.
//
//     SENDER_SECRET=whsec_... node node.mjs 8010

import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const secret = Buffer.from(process.env.SENDER_SECRET.replace(/^whsec_/, ""), "base64");
const seen = new Map(); // what was answered to each idempotency key; keep it in a database

/** Gives the message to the provider: accepted, invalid_number, refused or try_later. */
async function handOver(message) {
  if (message.to.startsWith("+999")) return "invalid_number";
  console.log(`${message.to}: template ${message.template} in ${message.language}`);
  return "accepted";
}

function isSigned(headers, body) {
  const stamp = headers["webhook-timestamp"] ?? "";
  if (!/^\d+$/.test(stamp) || Math.abs(Date.now() / 1000 - Number(stamp)) > 300) return false;
  const signed = createHmac("sha256", secret).update(`${headers["webhook-id"]}.${stamp}.`).update(body);
  const right = Buffer.from(`v1,${signed.digest("base64")}`);
  const given = (headers["webhook-signature"] ?? "").split(" ").map((one) => Buffer.from(one));
  return given.some((one) => one.length === right.length && timingSafeEqual(one, right));
}

async function answer(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  const body = Buffer.concat(parts);
  if (!isSigned(request.headers, body)) return [401, { error: "bad signature" }];
  const message = JSON.parse(body);
  const key = message.idempotency_key;
  if (!seen.has(key)) seen.set(key, handOver(message));
  return [200, { status: await seen.get(key) }];
}

createServer((request, response) => {
  answer(request)
    .catch(() => [500, { error: "internal" }])
    .then(([status, document]) => {
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(document));
    });
}).listen(Number(process.argv[2]), "127.0.0.1");
