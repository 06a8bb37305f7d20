/**
 * FreshK's client: logs a person in with a phone number and a code, keeps the tokens, refreshes them, and calls APIs with them.
 * It decides by the code of an answer, never by a bare status: firewalls and the login pages of networks answer too.
 */
import type { paths } from "./schema.js";

type Operation<Path extends keyof paths, Method extends keyof paths[Path]> = paths[Path][Method];
type Content<Answer> = Answer extends { content: infer Types } ? Types[keyof Types] : never;
type Good<Path extends keyof paths, Method extends keyof paths[Path]> =
  Operation<Path, Method> extends { responses: { 200: infer Answer } } ? Content<Answer> : never;
type CodeOf<Body> = Body extends { code: infer Code } ? Code : never;
type CodesOf<Called> = Called extends { responses: infer Responses } ? { [Status in keyof Responses]: CodeOf<Content<Responses[Status]>> }[keyof Responses] : never;
type Codes<Path> = { [Method in keyof Path]: CodesOf<Path[Method]> }[keyof Path];

/** What `requestCode` gives. */
export type CodeSent = Good<"/api/mobile/auth/production/request/", "post"> & Sent;
/** What `resendCode` gives. */
export type CodeResent = Good<"/api/mobile/auth/production/resend/", "post"> & Sent;
/** What became of a message: `sending`, `sent`, `delivered`, `undelivered` or `unknown`; take a word that you do not know as `unknown`. */
export type Delivery = Good<"/api/mobile/auth/production/delivery/{delivery_id}/", "get">;
/** What `verify` gives. The tokens in it are stored already: nothing is to be done with them. */
export type Login = Good<"/api/mobile/auth/production/verify/", "post">;
export type Status = Good<"/api/mobile/auth/production/status/", "get">;
/** One device that is logged in. */
export type Session = Good<"/api/mobile/auth/sessions/", "get">["sessions"][number];
export type Done = Good<"/api/mobile/auth/logout/", "post">;
/** A code is on its way to the new number. */
export type PhoneAsked = Good<"/api/mobile/auth/account/phone/", "post">;
/** A change of the phone number; `effective_at` is null where it is done. */
export type PhoneChange = Good<"/api/mobile/auth/account/phone/verify/", "post">;
/** A deletion; without `deletes_at` it is done. */
export type Deletion = Good<"/api/mobile/auth/account/delete/", "post">;
/** All that is kept about a person. */
export type Export = Good<"/api/mobile/auth/account/export/", "get">;

/** The codes of the server's errors. There may be more tomorrow. */
export type ServerCode = Extract<{ [Path in keyof paths]: Codes<paths[Path]> }[keyof paths], string>;
/**
 * The client's own codes.
 * - `no_answer`: nothing came in time, or what came is not FreshK's: a network's login page, a firewall, half an answer.
 * - `storage_failed`: the storage threw or did not answer.
 * - `origin_not_allowed`: `fetch` was given an address that may not have the access token.
 */
export type OwnCode = "no_answer" | "storage_failed" | "origin_not_allowed";
export type Code = ServerCode | OwnCode | (string & {});

interface Sent {
  /** Names the message for `delivery`. */
  deliveryId?: string;
}

/** Keeps one string over restarts: `localStorage`, AsyncStorage, or what the device has for secrets. */
export interface Storage {
  getItem(key: string): string | null | undefined | Promise<string | null | undefined>;
  setItem(key: string, value: string): unknown;
}

/** The part of the browser's `navigator.locks` that is used. */
export interface Locks {
  request(name: string, options: { signal?: AbortSignal }, act: () => Promise<unknown>): Promise<unknown>;
}

export interface Options {
  /** The address that ends in `/api/mobile/auth`. */
  url: string;
  storage: Storage;
  /** Other origins that may get the access token: `["https://api.example.com"]`. FreshK's own may. */
  origins?: readonly string[];
  /** Milliseconds for a call, its answer's body too, and for the storage; 20,000. A call that sends an SMS may take fifteen seconds. */
  timeout?: number;
  /** Names this device in `sessions`. */
  deviceName?: string;
  /** The storage's key; `freshk`. */
  key?: string;
  /** The session has ended, by the server or in another tab: show the login screen. Not called for this client's own `logout`. */
  onLogout?: (code: Code) => void;
  /** `globalThis.fetch`. */
  fetch?: typeof fetch;
  /** `navigator.locks`, where there are any: the tabs of a browser refresh one at a time. */
  locks?: Locks | undefined;
}

/** Every failure that the client knows. Branch on `code`. */
export class FreshKError extends Error {
  override readonly name = "FreshKError";
  /** The answer's status; none where nothing came. */
  readonly status?: number | undefined;
  /** Seconds after which the call may succeed. */
  readonly retryAfter?: number | undefined;
  /** The answer's name in the operator's log. */
  readonly requestId?: string | undefined;
  /** Names a message that may still arrive, for `delivery`. */
  readonly deliveryId?: string | undefined;
  /** The session is over: show the login screen. Otherwise it is as it was. */
  readonly loggedOut: boolean = false;

  constructor(
    readonly code: Code,
    message: string,
    more: Partial<Pick<FreshKError, "status" | "retryAfter" | "requestId" | "deliveryId" | "loggedOut" | "cause">> = {},
  ) {
    super(message);
    Object.assign(this, more);
  }
}

interface Pair {
  access: string;
  refresh: string;
}

/** All that is stored, in one string, so that it is never stored by half. */
interface Kept extends Partial<Pair> {
  device?: string;
  /** The `Idempotency-Key` of the next login, or of this one. */
  key?: string;
}

type Members = Record<string, unknown>;

/** Answers to an access token after which a refresh helps; the last one is simplejwt's. */
const RENEW: unknown[] = ["token_expired", "token_invalid", "token_not_valid"];
/** Answers to a refresh token after which nothing helps, and the status that each has. */
const ENDED: Record<string, number> = { token_expired: 401, token_invalid: 401, token_reused: 401, account_disabled: 403 };
const DEVICE = "X-Device-Token";

export class FreshK {
  private readonly url: string;
  private readonly origin: string;
  private readonly name: string;
  private readonly timeout: number;
  private readonly locks: Locks | undefined;
  /** The session as this client knows it; the storage may know better. */
  private pair: Pair | undefined;
  /** The refresh that is running. */
  private flight: Promise<string> | undefined;
  private cancel: AbortController | undefined;
  private refreshes = 0;
  private lastTurn: Promise<unknown> = Promise.resolve();
  private lastAccess: Promise<unknown> = Promise.resolve();

  constructor(private readonly options: Options) {
    this.url = options.url.replace(/\/+$/, "");
    this.origin = originOf(this.url);
    this.name = options.key ?? "freshk";
    this.timeout = options.timeout ?? 20_000;
    this.locks = "locks" in options ? options.locks : globalThis.navigator?.locks;
  }

  /** Whether somebody is logged in, as far as this device knows; asks nobody. */
  async isLoggedIn(): Promise<boolean> {
    return hasPair(await this.turn(() => this.load()));
  }

  /**
   * Has a code sent; while a first one lives, by another way too: `whatsapp` or `voice`, where the server has such a sender.
   * The storage is written first: without it nobody could log in, and the message would be for nothing.
   */
  async requestCode(phone_number: string, channel?: "whatsapp" | "voice"): Promise<CodeSent> {
    const { device } = await this.keyed(true);
    return this.codeSent<CodeSent>(this.post("/production/request/", { phone_number, channel }, deviceHeader(device)));
  }

  /** Has a code sent to the number of the person who is logged in. */
  async resendCode(): Promise<CodeResent> {
    return this.codeSent<CodeResent>(this.authorized("/production/resend/", "POST"));
  }

  /** Logs in. Where the answer was lost, call it again with the same code within a minute: the same session comes again. */
  async verify(phone_number: string, otp: string): Promise<Login> {
    const { key, device } = await this.keyed();
    const { deviceName } = this.options;
    const headers: Record<string, string> = { "Idempotency-Key": key, ...deviceHeader(device) };
    if (deviceName !== undefined) headers["X-Device-Name"] = encodeURIComponent(deviceName);
    const answer = await this.post("/production/verify/", { phone_number, otp }, headers);
    const body = await read<Login>(answer, "user", isPair);
    await this.turn(async () => this.keep(await this.load(), body, answer));
    return body;
  }

  /**
   * Calls an API with the access token; where that is no longer good, repeats the call with another one, once with one that is new.
   * Gives whatever answer came, refusals too, when its body is there as a whole. A path is one of FreshK's server.
   */
  async fetch(url: string | URL, init: RequestInit = {}): Promise<Response> {
    const target = this.allowed(String(url));
    const { refreshes } = this;
    let access = this.pair?.access ?? (await this.renew());
    for (let tries = 1; ; tries += 1) {
      const isNew = this.refreshes !== refreshes; // what another tab stored may have expired as well
      const answer = await this.send(target, init, access);
      if (isNew || tries > 2 || answer.status !== 401 || !RENEW.includes((await members(answer.clone())).code)) return answer;
      access = await this.renew(access);
    }
  }

  /** Who is logged in, as the server says it. */
  async status(): Promise<Status> {
    return read(await this.authorized("/production/status/"), "authenticated");
  }

  /** The devices that are logged in, the newest first. */
  async sessions(): Promise<Session[]> {
    const { sessions } = await read<{ sessions: Session[] }>(await this.authorized("/sessions/"), "sessions");
    return sessions;
  }

  /** Logs another device out. */
  async endSession(id: string): Promise<Done> {
    return read(await this.authorized(`/sessions/${encodeURIComponent(id)}/`, "DELETE"), "message");
  }

  /** The device forgets the session in any case; where this fails, the server may not have heard of it. */
  async logout(): Promise<void> {
    this.cancel?.abort(over("not_authenticated"));
    const { refresh, failure } = await this.turn(async () => {
      const kept: Kept = await this.load().catch(() => ({ ...this.pair }));
      return { refresh: kept.refresh, failure: await this.forget(kept).catch((error: unknown) => error) };
    });
    // A token that could not be forgotten is worth nothing once the server has ended its session.
    if (refresh !== undefined) await read(await this.post("/logout/", { refresh }), "message").catch(unlessOver);
    if (failure !== undefined) throw failure;
  }

  /** Logs all of the person's devices out, this one last; where it fails, nothing is forgotten. */
  async logoutAll(): Promise<void> {
    await read(await this.authorized("/logout/all/", "POST"), "message");
    await this.turn(async () => this.forget(await this.load()));
  }

  /** What became of the message of one `requestCode` or `resendCode`. */
  async delivery(id: string): Promise<Delivery> {
    return read(await this.send(`${this.url}/production/delivery/${encodeURIComponent(id)}/`, {}), "state");
  }

  /** The account of the person who is logged in. */
  readonly account = {
    /** Sends a code to the new number. */
    changePhone: async (phone_number: string): Promise<PhoneAsked> =>
      read(await this.authorized("/account/phone/", "POST", { phone_number }), "expires_in"),

    /** Proves the new number; with a code from `resendCode` as `current_otp` the change is done at once. */
    verifyPhone: async (phone_number: string, otp: string, current_otp?: string): Promise<PhoneChange> =>
      read(await this.authorized("/account/phone/verify/", "POST", { phone_number, otp, current_otp }), "effective_at"),

    /** Takes a change back. */
    keepPhone: async (): Promise<Done> => read(await this.authorized("/account/phone/", "DELETE"), "message"),

    /** Takes a change back that somebody else asked for: with the code that came to the old number, logged in or not. */
    cancelPhoneChange: async (phone_number: string, cancel_code: string): Promise<Done> =>
      read(await this.send(`${this.url}/account/phone/`, json("DELETE", { phone_number, cancel_code })), "message"),

    /** Deletes the account, with a code from `resendCode`. The device forgets the session. */
    delete: async (otp: string): Promise<Deletion> => {
      const deletion = await read<Deletion>(await this.authorized("/account/delete/", "POST", { otp }), "message");
      // The device's token lets the owner in to restore the account.
      await this.turn(async () => this.forget(deletion.deletes_at === undefined ? {} : await this.load()));
      return deletion;
    },

    /** All that is kept about the person. */
    export: async (): Promise<Export> => read(await this.authorized("/account/export/"), "user"),
  };

  /** An access token other than `stale`. All who ask while a refresh is running share it, its failure too. */
  private renew(stale?: string): Promise<string> {
    if (this.flight === undefined) {
      if (this.pair !== undefined && this.pair.access !== stale) return Promise.resolve(this.pair.access);
      const flight = this.turn(() => this.refresh(stale)).finally(() => (this.flight = undefined));
      this.flight = flight;
    }
    return this.flight;
  }

  private async refresh(stale: string | undefined): Promise<string> {
    const kept = await this.load();
    if (!hasPair(kept)) {
      if (this.pair !== undefined) this.tell("not_authenticated"); // another tab logged out
      this.pair = undefined;
      throw over("not_authenticated");
    }
    const mine = this.pair;
    // Stored at the last start, by another tab, or by a login.
    if (mine?.access !== stale || mine?.refresh !== kept.refresh) return (this.pair = kept).access;
    this.cancel = new AbortController();
    const { signal } = this.cancel;
    try {
      const answer = await this.post("/token/refresh/", { refresh: kept.refresh }, {}, signal);
      const { access } = await this.keep(kept, await read<Pair>(answer, "access", isPair), answer);
      this.refreshes += 1;
      return access;
    } catch (error) {
      const { code, status } = error as FreshKError;
      if (status === undefined || ENDED[code] !== status) throw error;
      // Where the storage fails now, the next start finds out again.
      await this.forget(kept).catch(() => {});
      this.tell(code);
      throw over(code, error as FreshKError);
    } finally {
      this.cancel = undefined;
    }
  }

  /** What the app does then is not part of the call that found out. */
  private tell(code: Code): void {
    void Promise.resolve(code).then(this.options.onLogout);
  }

  /** Stores a pair before any of it is used. */
  private async keep(kept: Kept, { access, refresh }: Pair, answer: Response): Promise<Pair> {
    const device = answer.headers.get(DEVICE) ?? kept.device;
    await this.save({ ...kept, access, refresh, ...(device ? { device } : {}) });
    return (this.pair = { access, refresh });
  }

  /** Only the device token outlives a session: with it, strangers cannot lock the person's number. */
  private async forget({ refresh, device }: Kept): Promise<void> {
    this.pair = undefined;
    // Where there are no locks, another process may have logged in meanwhile.
    if (refresh === undefined || (await this.load()).refresh === refresh) await this.save(device ? { device } : {});
  }

  /** What is stored, with a key for the next login; written again where the storage has to show that it works. */
  private keyed(isWritten = false): Promise<Kept & { key: string }> {
    return this.turn(async () => {
      const kept = await this.load();
      const keyed = { ...kept, key: kept.key ?? randomKey() };
      if (isWritten || kept.key === undefined) await this.save(keyed);
      return keyed;
    });
  }

  private async load(): Promise<Kept> {
    const text = await this.stored((storage) => storage.getItem(this.name));
    return object(text) as Kept;
  }

  private save(kept: Kept): Promise<unknown> {
    return this.stored((storage) => storage.setItem(this.name, JSON.stringify(kept)));
  }

  /** One access to the storage after the other, so that a slow one never overwrites a newer; and none is waited for for ever. */
  private stored<T>(act: (storage: Storage) => T | Promise<T>): Promise<T> {
    const access = this.lastAccess.then(() => act(this.options.storage));
    this.lastAccess = access.catch(() => {});
    return bounded(access, this.timeout).catch((cause: unknown) => {
      throw new FreshKError("storage_failed", "The device could not store the login. Try again.", { cause });
    });
  }

  /** What changes the session never overlaps, over tabs neither. */
  private turn<T>(act: () => Promise<T>): Promise<T> {
    const { locks } = this;
    if (locks !== undefined) return this.locked(locks, act);
    const turn = this.lastTurn.then(act);
    this.lastTurn = turn.catch(() => {});
    return turn;
  }

  private async locked<T>(locks: Locks, act: () => Promise<T>): Promise<T> {
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(noAnswer()), 3 * this.timeout);
    const granted = () => {
      clearTimeout(timer);
      return act();
    };
    return locks.request(`freshk:${this.name}`, { signal: abort.signal }, granted).finally(() => clearTimeout(timer)) as Promise<T>;
  }

  private async codeSent<T extends Sent>(call: Promise<Response>): Promise<T> {
    const answer = await call;
    return { ...(await read<T>(answer, "expires_in")), ...deliveryOf(answer) };
  }

  /** A call to FreshK with the access token, and with the device's own. */
  private async authorized(path: string, method = "GET", body?: Members): Promise<Response> {
    const init = body === undefined ? { method, headers: {} } : json(method, body);
    if (method === "POST") Object.assign(init.headers, deviceHeader((await this.turn(() => this.load())).device));
    return this.fetch(this.url + path, init);
  }

  private post(path: string, body: Members, headers: Record<string, string> = {}, signal?: AbortSignal): Promise<Response> {
    return this.send(this.url + path, { ...json("POST", body, headers), signal: signal ?? null });
  }

  /** The address, if it may have the access token. */
  private allowed(url: string): string {
    const target = url.startsWith("/") ? this.origin + url : url;
    const origin = originOf(target);
    if (origin === this.origin || this.options.origins?.includes(origin)) return target;
    throw new FreshKError("origin_not_allowed", `The access token is not sent to ${origin || url}: name it in \`origins\`.`);
  }

  /** Gives the whole answer, or throws in time. */
  private async send(url: string, init: RequestInit, access?: string): Promise<Response> {
    const abort = new AbortController();
    const { signal } = init;
    const stop = () => abort.abort();
    signal?.addEventListener("abort", stop);
    try {
      if (signal?.aborted) throw new Error("aborted");
      const headers = new Headers(init.headers);
      if (access !== undefined) headers.set("Authorization", `Bearer ${access}`);
      const call = this.options.fetch ?? globalThis.fetch;
      // FreshK never redirects: whoever does must not get the token.
      const answer = call(url, { ...init, headers, redirect: "error", signal: abort.signal }).then(whole);
      return await bounded(answer, this.timeout);
    } catch (cause) {
      if (signal?.aborted) throw signal.reason ?? cause;
      throw noAnswer({ cause });
    } finally {
      stop();
      signal?.removeEventListener("abort", stop);
    }
  }
}

/** The answer with its body read. */
async function whole(answer: Response): Promise<Response> {
  const body = await answer.blob();
  const { status, statusText, headers } = answer;
  return new Response(body.size > 0 ? body : null, { status, statusText, headers });
}

/** The members of a good answer that has `member`; throws what any other answer says. */
async function read<T>(answer: Response, member?: string, isGood: (body: Members) => boolean = () => true): Promise<T> {
  const body = await members(answer);
  if (answer.ok && (member === undefined || member in body) && isGood(body)) return body as T;
  const { code, error, request_id } = body;
  const { status } = answer;
  const seconds = Number(body.retry_after ?? answer.headers.get("Retry-After") ?? NaN);
  const more = { status, retryAfter: Number.isInteger(seconds) ? seconds : undefined, ...deliveryOf(answer) };
  if (answer.ok || typeof code !== "string" || typeof error !== "string") throw noAnswer(more);
  throw new FreshKError(code, error, { ...more, requestId: request_id as string | undefined });
}

function deliveryOf(answer: Response): Sent {
  const deliveryId = answer.headers.get("X-Delivery-Id");
  return deliveryId === null ? {} : { deliveryId };
}

const members = async (answer: Response): Promise<Members> => object(await answer.text());

/** The object that a text holds; an empty one where it holds none: HTML, or cut off. */
function object(text: string | null | undefined): Members {
  try {
    const value: unknown = JSON.parse(text ?? "");
    return typeof value === "object" && value !== null ? (value as Members) : {};
  } catch {
    return {};
  }
}

const noAnswer = (more: ConstructorParameters<typeof FreshKError>[2] = {}): FreshKError =>
  new FreshKError("no_answer", "There is no answer from the server. Check the connection and try again.", more);

const over = (code: Code, cause?: FreshKError): FreshKError =>
  new FreshKError(code, cause?.message ?? "Nobody is logged in.", { ...cause, cause, loggedOut: true });

/** Rejects with nothing in particular where the work takes longer. */
function bounded<T>(work: Promise<T>, milliseconds: number): Promise<T> {
  let timer: ReturnType<typeof setTimeout>;
  const late = new Promise<never>((_, fail) => (timer = setTimeout(fail, milliseconds, new Error("timed out"))));
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

const isToken = (value: unknown): value is string => typeof value === "string" && /^[\w-]+\.[\w-]+\.[\w-]+$/.test(value);

const isPair = ({ access, refresh }: Members): boolean => isToken(access) && isToken(refresh);

const hasPair = (kept: Kept): kept is Kept & Pair => isPair(kept as Members);

/** Where the session is over already, a logout has nothing to do. */
function unlessOver(error: unknown): void {
  if (ENDED[(error as FreshKError).code] === undefined) throw error;
}

const originOf = (url: string): string => /^https?:\/\/[^/?#]+/.exec(url)?.[0] ?? "";

const deviceHeader = (device: string | undefined): Record<string, string> => (device ? { [DEVICE]: device } : {});

const json = (method: string, body: Members, headers: Record<string, string> = {}) => ({
  method,
  headers: { "Content-Type": "application/json", ...headers },
  body: JSON.stringify(body),
});

/** 32 hexadecimal digits. React Native has no `crypto`; the key alone opens nothing. */
function randomKey(): string {
  const bytes = Uint8Array.from({ length: 16 }, () => Math.random() * 256);
  globalThis.crypto?.getRandomValues?.(bytes);
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
