// A login with FreshK in a plain page, and what people do with their own account. `freshk.js` is the built file of @freshk/client,
// `config.js` names the server.
import { FreshK, FreshKError } from "./freshk.js";
import * as config from "./config.js";

const LOOK = 2000;
const PENDING = "freshk-phone-change";
/** What to do, where the server's sentence alone does not say. */
const HELP = {
  account_disabled: "This account is disabled. Ask those who run this service.",
  invalid_otp: "This code is wrong or no longer good. Enter the one of the newest message.",
  phone_in_use: "This number belongs to another account. Use another number, or log in with this one.",
  user_not_found: "No code was sent to this number. Have one sent.",
};
const MESSAGES = { sms: "The text message", whatsapp: "The WhatsApp message", voice: "The call" };

const freshk = new FreshK({ url: config.url, storage: localStorage, deviceName: device(), onLogout: () => start() });
const element = (id) => document.getElementById(id);
const digits = (id) => element(id).value.replace(/[^+\d]/g, "");
const time = (instant) => new Date(instant).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
let number = ""; // that is to log in
let wanted = ""; // that is to replace the account's
let user = {};
let watched = 0;

/** What this device is called in the list of devices. */
function device() {
  const { userAgentData, platform } = navigator;
  return `Browser on ${userAgentData?.platform || platform || "an unknown device"}`;
}

function show(screen, facts = {}) {
  for (const other of document.querySelectorAll("[data-screen]")) other.hidden = other.id !== screen;
  for (const input of document.querySelectorAll("input:not(#number)")) input.value = "";
  for (const [name, value] of Object.entries({ ...user, ...facts })) {
    for (const place of element(screen).querySelectorAll(`[data-of="${name}"]`)) place.textContent = value;
  }
  void watch();
  (element(screen).querySelector("input") ?? element(screen).querySelector("h2")).focus();
}

/** Tells of a failure. */
function say(message = "") {
  element("message").textContent = message;
}

/** Tells of what was done. */
function inform(message = "") {
  element("notice").textContent = message;
}

/** Does something with its button disabled; a failure is told, and its button waits as long as the server says. */
async function act(button, work) {
  if (button.ariaDisabled === "true") return;
  say();
  inform();
  button.ariaDisabled = "true"; // one that is `disabled` would lose the keyboard's focus
  try {
    await work();
  } catch (error) {
    if (!(error instanceof FreshKError)) throw error;
    tell(error, button.closest("form"));
    await new Promise((done) => setTimeout(done, 1000 * (error.retryAfter ?? 0)));
  } finally {
    button.ariaDisabled = null;
  }
}

function tell(error, form) {
  if (error.loggedOut) {
    show("phone");
    return say("You are logged out. Log in again.");
  }
  if (error.code === "user_not_found") show("phone");
  say(HELP[error.code] ?? error.message);
  const field = { invalid_otp: "input[inputmode=numeric]", invalid_phone_number: "input[type=tel]" }[error.code];
  const input = form?.querySelector(field ?? "none");
  input?.setAttribute("aria-invalid", "true");
  input?.select();
}

/** Tells, below the fields, what becomes of a message, until it has arrived or another screen is shown. */
async function watch(id, place) {
  const turn = (watched += 1);
  if (place !== undefined) place.textContent = "";
  while (id !== undefined && turn === watched) {
    const delivery = document.hidden ? {} : await freshk.delivery(id).catch((error) => error);
    if (turn !== watched || delivery.code === "not_found") return; // the code was used, or replaced
    if (delivery.state !== undefined) write(place, sentence(delivery));
    if (delivery.state === "delivered") return;
    await new Promise((done) => setTimeout(done, LOOK));
  }
}

function sentence({ state, channel, retry_after }) {
  const message = MESSAGES[channel] ?? "The message";
  const when = retry_after > 0 ? ` in ${retry_after} seconds` : "";
  switch (state) {
    case "sending":
    case "sent":
      return `${message} is on its way.`;
    case "delivered":
      return channel === "voice" ? "You were called." : `${message} has arrived.`;
    case "undelivered":
      return `${message} could not be delivered. Look at the number again, or have another code sent${when}.`;
    default:
      return `Nobody can say whether ${message.toLowerCase().replace("whatsapp", "WhatsApp")} arrives. If nothing comes, have another code sent${when}.`;
  }
}

/** Screen readers read out what is written, so the same is not written again. */
function write(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

/** Has a code sent, and shows where it is entered; also where the sending failed, but the message may still arrive. */
async function sendCode(channel) {
  try {
    const { expires_in, deliveryId } = await freshk.requestCode(number, channel);
    showCode(deliveryId, Math.round(expires_in / 60));
  } catch (error) {
    if (error.code === "sms_delivery_failed" && error.deliveryId !== undefined) showCode(error.deliveryId, 10);
    throw error;
  }
}

function showCode(deliveryId, minutes) {
  show("code", { number, minutes });
  for (const button of document.querySelectorAll("[data-channel]")) button.hidden = !config.channels?.includes(button.dataset.channel);
  void watch(deliveryId, element("code").querySelector(".delivery"));
}

async function home() {
  const [status, sessions] = await Promise.all([freshk.status(), freshk.sessions()]);
  ({ user } = status);
  const change = pending();
  show("home", { pending_number: change?.phone_number, pending_at: change && time(change.effective_at) });
  element("pending").hidden = change === undefined;
  element("devices").replaceChildren(...sessions.map(row));
}

function row({ id, device, last_used_at, current }) {
  const row = document.createElement("li");
  const text = row.appendChild(document.createElement("div"));
  text.appendChild(document.createElement("p")).textContent = device;
  const seen = text.appendChild(document.createElement("p"));
  seen.className = "faint";
  seen.textContent = current ? "This device" : `Last used ${time(last_used_at)}`;
  if (!current) {
    const button = row.appendChild(document.createElement("button"));
    button.type = "button";
    button.className = "plain";
    button.textContent = "Log out";
    button.setAttribute("aria-label", `Log out ${device}`);
    button.addEventListener("click", () => act(button, async () => (await freshk.endSession(id).catch(ifGone), home())));
  }
  return row;
}

/** The change of number that this device has asked for and that waits. */
function pending() {
  const change = JSON.parse(localStorage.getItem(PENDING) ?? "{}");
  return Date.parse(change.effective_at) > Date.now() && change.phone_number !== user.phone_number ? change : undefined;
}

/** Proves the new number, and the one before where a code of it is given. */
async function changeNumber() {
  const [code, current] = ["new-otp", "current-otp"].map((id) => element(id).value);
  const change = await freshk.account.verifyPhone(wanted, code, current || undefined).catch(async (error) => {
    // The answer of a call before may have been lost: then the codes are used up, and the change is done.
    if (error.status !== 400 || (await freshk.status()).user.phone_number !== wanted) throw error;
    return { phone_number: wanted, effective_at: null };
  });
  localStorage.setItem(PENDING, JSON.stringify(change));
  await home();
  if (change.effective_at === null) inform(`Your number is ${change.phone_number} now. All other devices are logged out.`);
  else inform(`Your number will be ${change.phone_number} from ${time(change.effective_at)} on. Until then, log in with the one that you have.`);
}

async function keepNumber() {
  const done = await freshk.account.keepPhone().catch(ifGone);
  localStorage.removeItem(PENDING);
  await home();
  inform(done === undefined ? "No change of your number was waiting: it stays." : "The change is taken back: your number stays.");
}

/** What is gone already need not be ended. */
function ifGone(error) {
  if (error.code !== "not_found") throw error;
}

async function deleteAccount() {
  const deletion = await freshk.account.delete(element("delete-otp").value).catch((error) => {
    // The answer of a call before may have been lost.
    if (!error.loggedOut) throw error;
    return { message: "You are logged out. If you asked for it, your account is deleted." };
  });
  localStorage.removeItem(PENDING);
  show("phone");
  element("number").value = "";
  const { deletes_at } = deletion;
  inform(deletes_at === undefined ? deletion.message : `Your account will be deleted on ${time(deletes_at)}. Log in before that to keep it.`);
}

/** Has the browser save all that is kept about the person. */
async function save() {
  const text = JSON.stringify(await freshk.account.export(), null, 2);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = "account.json";
  link.click();
  URL.revokeObjectURL(link.href);
  inform("All that is kept about you is saved as account.json.");
}

/** Shows the login or the home screen, as this device knows it. */
async function start() {
  if (!(await freshk.isLoggedIn())) return show("phone");
  show("retry"); // until the server has answered
  return act(element("retry").querySelector("button"), home);
}

const buttons = {
  sendCode: () => sendCode(),
  askWhatsApp: () => sendCode("whatsapp"),
  askVoice: () => sendCode("voice"),
  openPhone: () => show("phone"),
  openCancel: () => show("cancel"),
  openHome: home,
  openChange: () => show("change"),
  openDelete: () => show("delete"),
  sendCurrent: async () => {
    const { deliveryId } = await freshk.resendCode();
    element("prove-current").hidden = false;
    element("current-otp").focus();
    void watch(deliveryId, element("prove").querySelector(".delivery"));
  },
  sendDeleteCode: async () => {
    const { deliveryId } = await freshk.resendCode();
    show("delete-prove");
    void watch(deliveryId, element("delete-prove").querySelector(".delivery"));
  },
  keep: keepNumber,
  save,
  // The device has forgotten the session even where the server does not answer.
  logout: () => freshk.logout().finally(() => show("phone")),
  logoutAll: async () => (await freshk.logoutAll(), show("phone")),
};
for (const button of document.querySelectorAll("[data-do]")) {
  button.addEventListener("click", () => act(button, buttons[button.dataset.do]));
}

const forms = {
  phone: () => {
    number = digits("number");
    return sendCode();
  },
  code: async () => {
    const { restored } = await freshk.verify(number, element("otp").value);
    localStorage.removeItem(PENDING); // a login takes it back
    await home();
    if (restored) inform("Your account is kept: it will not be deleted.");
  },
  change: async () => {
    wanted = digits("new-number");
    await freshk.account.changePhone(wanted);
    show("prove", { wanted });
    element("prove-current").hidden = true;
  },
  prove: changeNumber,
  cancel: async () => {
    await freshk.account.cancelPhoneChange(digits("old-number"), element("cancel-code").value);
    show("phone");
    inform("Your number stays. Log in with it, and log out on all devices: somebody else was logged in.");
  },
  "delete-prove": deleteAccount,
};
for (const [form, work] of Object.entries(forms)) {
  element(form).addEventListener("submit", (event) => {
    event.preventDefault();
    void act(event.submitter ?? element(form).querySelector("button"), work);
  });
  element(form).addEventListener("input", ({ target }) => target.removeAttribute("aria-invalid"));
}

// Another tab has logged in or out.
addEventListener("storage", ({ key }) => {
  if (key === "freshk" || key === null) void follow();
});
async function follow() {
  const isInside = document.querySelector("[data-inside]:not([hidden])") !== null;
  if ((await freshk.isLoggedIn()) !== isInside) await start();
}

await start();
