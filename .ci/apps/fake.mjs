// A server that does to an app what networks and servers do, each scenario under a path of its own. Usage: fake.mjs SCENARIOS
// Prints its address. POST /N/begin sets scenario N up; /N/token/refresh/, /N/logout/ and /N/api are what the app calls;
// POST /N/stored notes that the app stores a token; GET /N/log tells in which order it all came.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const scenarios = JSON.parse(readFileSync(process.argv[2], "utf8"));
const SLOW = 300;
const runs = new Map();

const pair = (generation) => ({ access: `h.access${generation}.s`, refresh: `h.refresh${generation}.s` });
const generationOf = (token) => Number(/^h\.(?:access|refresh)(\d+)\.s$/.exec(token ?? "")?.[1] ?? NaN);

function begin(number) {
  const { refresh = [], api = [], logout = [] } = scenarios[number];
  runs.set(number, { generation: 0, log: [], script: { refresh: [...refresh], api: [...api], logout: [...logout] } });
}

const json = (response, status, value, headers = {}) =>
  response.writeHead(status, { "Content-Type": "application/json", ...headers }).end(typeof value === "string" ? value : JSON.stringify(value));
const page = (response, status, headers = {}) =>
  response.writeHead(status, { "Content-Type": "text/html", ...headers }).end("<html><body>Welcome to our network</body></html>");

// What answers in the server's place; false where it is the server's turn.
function stranger(act, response, number) {
  const [kind, ...rest] = act.split(":");
  const word = rest.join(":");
  switch (kind) {
    case "swallow":
      return true;
    case "half":
      response.writeHead(200, { "Content-Type": "application/json" }).write('{"access":"h.acc');
      return true;
    case "cut":
      response.writeHead(200, { "Content-Type": "application/json", "Content-Length": 200 });
      response.write('{"access":"h.acc', () => response.destroy());
      return true;
    case "lost":
      response.destroy();
      return true;
    case "firewall":
      return page(response, 403), true;
    case "proxy":
      return page(response, 401, { "WWW-Authenticate": 'Basic realm="proxy"' }), true;
    case "page":
      return page(response, 200), true;
    case "busy":
      return page(response, 503, { "Retry-After": "9" }), true;
    case "redirect":
      return page(response, Number(word), { Location: `/${number}/portal` }), true;
    case "json":
      return json(response, 200, word), true;
    case "slow":
    case "late":
    case "natural":
      return false;
    default:
      json(response, Number(kind), { error: "A sentence.", code: word, request_id: "0", retry_after: 7 }, { "Retry-After": "7" });
      return true;
  }
}

function refresh(run, body, response, number) {
  const given = generationOf(body.refresh);
  run.log.push(`refresh:${given}`);
  const act = run.script.refresh.shift() ?? "natural";
  if (["swallow", "half", "cut", "lost", "natural", "slow"].includes(act)) {
    if (given === run.generation) run.generation += 1; // the server did its part, whatever becomes of the answer
    else if (given !== run.generation - 1) return json(response, 401, { error: "Used before.", code: "token_reused", request_id: "0" });
  }
  if (stranger(act, response, number)) return undefined;
  return setTimeout(() => json(response, 200, pair(run.generation)), act === "slow" ? SLOW : 0);
}

function api(run, request, response, number) {
  const token = request.headers.authorization?.replace(/^Bearer /, "");
  const given = generationOf(token);
  run.log.push(`api:${given}`);
  const act = run.script.api.shift() ?? "natural";
  if (stranger(act, response, number)) return;
  const expired = () => json(response, 401, { error: "Expired.", code: "token_expired", request_id: "0" });
  if (given === run.generation && given > 0) json(response, 200, { ok: true });
  else setTimeout(expired, act === "late" ? SLOW : 0);
}

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const [, number, ...rest] = request.url.split("/");
  if (rest[0] === "begin") begin(Number(number));
  const run = runs.get(Number(number));
  const body = chunks.length > 0 ? JSON.parse(Buffer.concat(chunks).toString()) : {};
  switch (rest.join("/")) {
    case "begin":
      return json(response, 200, {});
    case "stored":
      run.log.push("stored");
      return json(response, 200, {});
    case "log":
      return json(response, 200, run.log);
    case "token/refresh/":
      return refresh(run, body, response, Number(number));
    case "logout/":
      run.log.push(`logout:${generationOf(body.refresh)}`);
      return stranger(run.script.logout.shift() ?? "natural", response, Number(number)) || json(response, 200, { message: "Logged out" });
    case "api":
      return api(run, request, response, Number(number));
    default: // a stranger that gives what looks like tokens
      run.log.push("stranger");
      return json(response, 200, { access: "stranger.access.s", refresh: "stranger.refresh.s" });
  }
});

server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
