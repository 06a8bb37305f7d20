// What stands in for the providers of messages: a sender of kind http that reports when it is told to, and Twilio's calls.
import { createHmac, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";

const SECRET = randomBytes(32);

export class Senders {
  /** The text messages as the server posted them, the newest last. */
  messages = [];
  /** The codes that were read out. */
  calls = [];

  async start() {
    this.#listener = createServer((request, response) => this.#answer(request, response)).listen(0, "127.0.0.1");
    await once(this.#listener, "listening");
  }

  stop() {
    this.#listener.close();
    this.#listener.closeAllConnections();
  }

  /** The server's settings. */
  get settings() {
    const url = `http://127.0.0.1:${this.#listener.address().port}`;
    return {
      FRESHK_SMS__PROVIDER: "twilio",
      FRESHK_SMS__SENDERS: "local,call",
      FRESHK_SENDERS: `local|kind=http|url=${url}/|secret=whsec_${SECRET.toString("base64")},call|kind=voice`,
      FRESHK_TWILIO__BASE_URL: url,
      TWILIO_ACCOUNT_SID: `AC${"0".repeat(32)}`,
      TWILIO_AUTH_TOKEN: "0".repeat(32),
      TWILIO_PHONE_NUMBER: "+15005550006",
    };
  }

  /** Tells the server what became of the newest text message. */
  async report(server, status) {
    const body = JSON.stringify({ message_id: this.messages.at(-1).message_id, status });
    const [id, stamp] = ["report", Math.floor(Date.now() / 1000)];
    const signature = createHmac("sha256", SECRET).update(`${id}.${stamp}.${body}`).digest("base64");
    const headers = { "content-type": "application/json", "webhook-id": id, "webhook-timestamp": String(stamp), "webhook-signature": `v1,${signature}` };
    const answer = await fetch(`http://${server.address}/api/mobile/auth/sms/local/status/`, { method: "POST", headers, body });
    if (answer.status !== 204) throw new Error(`the report was answered with ${answer.status}: ${await answer.text()}`);
  }

  #listener;

  async #answer(request, response) {
    let body = "";
    for await (const part of request) body += part;
    const isCall = request.url.endsWith("/Calls.json");
    if (isCall) this.calls.push(new URLSearchParams(body).get("Twiml").match(/(\d\. ){5}\d/)[0].replaceAll(". ", ""));
    else this.messages.push(JSON.parse(body));
    const answer = isCall ? { sid: `CA${randomBytes(16).toString("hex")}`, status: "queued" } : { status: "accepted" };
    response.writeHead(isCall ? 201 : 200, { "content-type": "application/json" }).end(JSON.stringify(answer));
  }
}
