// Serves this folder for a look at it. Usage: node serve.mjs [PORT [URL [CHANNELS]]], after `npm run build` in clients/typescript.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";

const [port = "5173", url = "http://127.0.0.1:8000/api/mobile/auth", channels = ""] = process.argv.slice(2);
const TYPES = { html: "text/html", css: "text/css", js: "text/javascript" };
const file = (path) => readFile(fileURLToPath(new URL(path, import.meta.url)));
const pages = {
  "/": () => file("index.html"),
  "/style.css": () => file("style.css"),
  "/app.js": () => file("app.js"),
  "/freshk.js": () => file("../../clients/typescript/dist/index.js"),
  "/config.js": async () => `export const url = ${JSON.stringify(url)};\nexport const channels = ${JSON.stringify(channels.split(",").filter(Boolean))};\n`,
};

const server = createServer(async (request, response) => {
  const path = request.url.replace(/\?.*/, "");
  const page = pages[path];
  if (page === undefined) return response.writeHead(404).end();
  const type = TYPES[path === "/" ? "html" : path.split(".").at(-1)];
  return response.writeHead(200, { "Content-Type": `${type}; charset=utf-8`, "Cache-Control": "no-store" }).end(await page());
});
server.listen(Number(port), "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/`));
