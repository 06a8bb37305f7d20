// A login with FreshK in a plain page. `freshk.js` is the built file of @freshk/client, `config.js` names the server.
import { FreshK, FreshKError } from "./freshk.js";
import { url } from "./config.js";

const freshk = new FreshK({ url, storage: localStorage, deviceName: device(), onLogout: () => start() });
const screens = ["phone", "code", "home", "retry"];
const element = (id) => document.getElementById(id);
let number = "";

/** What this device is called in the list of devices. */
function device() {
  const { userAgentData, platform } = navigator;
  return `Browser on ${userAgentData?.platform || platform || "an unknown device"}`;
}

function show(screen, facts = {}) {
  for (const name of screens) element(name).hidden = name !== screen;
  for (const [name, value] of Object.entries(facts)) {
    for (const place of element(screen).querySelectorAll(`[data-of="${name}"]`)) place.textContent = value;
  }
  element(screen).querySelector("input")?.focus();
}

function say(message = "") {
  element("message").textContent = message;
  element("message").hidden = message === "";
}

/** Does something with its button disabled; a failure is told, and its button waits as long as the server says. */
async function act(button, work) {
  say();
  button.disabled = true;
  try {
    await work();
  } catch (error) {
    if (!(error instanceof FreshKError)) throw error;
    say(error.loggedOut ? "You are logged out. Log in again." : error.message);
    if (error.loggedOut) return show("phone");
    if (error.code === "user_not_found") show("phone");
    if (error.code === "invalid_otp") element("otp").value = "";
    await new Promise((done) => setTimeout(done, 1000 * (error.retryAfter ?? 0)));
  } finally {
    button.disabled = false;
  }
}

async function sendCode() {
  const { expires_in } = await freshk.requestCode(number);
  show("code", { number, minutes: Math.round(expires_in / 60) });
}

async function home() {
  const [{ user }, sessions] = await Promise.all([freshk.status(), freshk.sessions()]);
  show("home", user);
  element("devices").replaceChildren(...sessions.map(row));
}

function row({ id, device, last_used_at, current }) {
  const row = document.createElement("li");
  const text = row.appendChild(document.createElement("div"));
  text.appendChild(document.createElement("p")).textContent = device;
  const seen = text.appendChild(document.createElement("p"));
  seen.className = "faint";
  seen.textContent = current ? "This device" : `Last used ${new Date(last_used_at).toLocaleString()}`;
  if (!current) {
    const button = row.appendChild(document.createElement("button"));
    button.type = "button";
    button.className = "plain";
    button.textContent = "Log out";
    button.setAttribute("aria-label", `Log out ${device}`);
    button.addEventListener("click", () => act(button, async () => (await freshk.endSession(id), home())));
  }
  return row;
}

/** Shows the login or the home screen, as this device knows it. */
async function start() {
  if (!(await freshk.isLoggedIn())) return show("phone");
  show("retry"); // until the server has answered
  return act(element("retry").querySelector("button"), home);
}

const buttons = {
  resend: sendCode,
  back: () => show("phone"),
  // The device has forgotten the session even where the server does not answer.
  logout: () => freshk.logout().finally(() => show("phone")),
  logoutAll: async () => (await freshk.logoutAll(), show("phone")),
  retry: home,
};
for (const button of document.querySelectorAll("[data-do]")) {
  button.addEventListener("click", () => act(button, buttons[button.dataset.do]));
}

function onSubmit(form, work) {
  element(form).addEventListener("submit", (event) => {
    event.preventDefault();
    void act(event.submitter ?? element(form).querySelector("button"), work);
  });
}
onSubmit("phone", () => {
  number = element("number").value.replace(/[^+\d]/g, "");
  element("otp").value = "";
  return sendCode();
});
onSubmit("code", async () => {
  await freshk.verify(number, element("otp").value);
  await home();
});

// Another tab has logged in or out.
addEventListener("storage", ({ key }) => {
  if (key === "freshk" || key === null) void follow();
});
async function follow() {
  if ((await freshk.isLoggedIn()) === element("home").hidden) await start();
}

await start();
