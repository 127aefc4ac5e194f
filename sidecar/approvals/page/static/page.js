// Keeps a page up to date: it works without this too. Text from outside never becomes HTML here.
"use strict";

const body = document.body;
const base = body.dataset.base;
const SAVED = "approvals-base";
// Ours and the server's clock may differ.
const ahead = Date.now() - Number(body.dataset.now) * 1000;

// Times in the reader's own zone, with the exact one a hover away.
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const date = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

function showTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    time.title = time.textContent;
    time.textContent = Math.abs(Date.now() - at) < 12 * 3600e3 ? clock.format(at) : date.format(at);
  }
}

// The time that is left, second by second.
function span(seconds) {
  let rest = Math.max(0, Math.floor(seconds));
  const parts = [];
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]]) {
    const count = Math.floor(rest / size);
    rest %= size;
    if (count) parts.push(`${count} ${unit}`);
    else if (parts.length) break;
  }
  return parts.slice(0, 2).join(" ") || "0 s";
}

const over = new Set();

function countDown() {
  const now = (Date.now() - ahead) / 1000;
  for (const left of document.querySelectorAll(".left")) {
    const seconds = Number(left.dataset.until) - now;
    const bar = left.querySelector("progress");
    bar.value = Math.max(0, seconds);
    bar.classList.toggle("late", seconds < Number(left.dataset.of) / 5);
    left.querySelector(".count").textContent = span(seconds);
    if (seconds <= 0 && !over.has(left.dataset.until)) {
      over.add(left.dataset.until);
      refresh();
    }
  }
}

// The live part of the page, fetched anew.
let fetching = false;
let again = false;

function refresh() {
  const live = document.getElementById("live");
  if (!live || !body.dataset.live) return;
  if (fetching) {
    again = true;
    return;
  }
  fetching = true;
  const request = new XMLHttpRequest();
  request.open("GET", body.dataset.live);
  request.responseType = "document";
  request.timeout = 10000;
  request.onloadend = () => {
    fetching = false;
    const fresh = request.response && request.response.getElementById("live");
    if (request.status === 200 && fresh) swap(live, fresh, request.response.title);
    else if (request.status === 200) location.reload(); // signed out
    if (again) {
      again = false;
      refresh();
    }
  };
  request.send();
}

function swap(live, fresh, title) {
  if (fresh.dataset.version === live.dataset.version) return;
  const known = new Set([...live.querySelectorAll(".card h3 a")].map((link) => link.getAttribute("href")));
  const focused = live.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  showTimes(fresh);
  live.replaceWith(fresh);
  for (const link of fresh.querySelectorAll(".card h3 a")) {
    if (!known.has(link.getAttribute("href"))) link.closest(".card").classList.add("new");
    if (focused !== null && link.getAttribute("href") === focused) link.focus();
  }
  document.title = fresh.dataset.title || title || document.title;
  document.getElementById("news").textContent = fresh.dataset.says;
  countDown();
  goStale(fresh.dataset.state);
}

// Somebody else answered, or the time is over: what was typed stays, and nothing can be sent any more.
function goStale(state) {
  const form = document.getElementById("decide");
  if (!state || !form || form.dataset.for === state) return;
  for (const button of form.querySelectorAll("button")) button.disabled = true;
  const stale = document.querySelector(".stale");
  const link = document.createElement("a");
  link.href = body.dataset.whole;
  link.textContent = "Show it as it is now";
  stale.replaceChildren("This was decided or ended meanwhile, so your answer is not needed. ", link);
  stale.hidden = false;
}

// A page that nobody looks at needs no connection: a browser has only six for each site.
let events = null;

function listen() {
  if (events || document.hidden || !body.dataset.live) return;
  events = new EventSource(`${base}/events`);
  events.addEventListener("changed", refresh);
  events.addEventListener("signed-out", () => location.reload());
  events.onerror = () => {
    if (events && events.readyState === EventSource.CLOSED) {
      events = null;
      setTimeout(() => {
        refresh();
        listen();
      }, 5000);
    }
  };
}

function hush() {
  if (events) events.close();
  events = null;
}

document.addEventListener("visibilitychange", () => (document.hidden ? hush() : listen()));
addEventListener("pagehide", hush);
addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  refresh();
  listen();
});

// One answer, however often the button is pressed.
document.addEventListener("submit", (event) => {
  if (event.submitter && event.submitter.formMethod === "dialog") return; // Enter in a field
  const buttons = event.target.querySelectorAll("button");
  setTimeout(() => buttons.forEach((button) => (button.disabled = true)), 0);
});

// Where the cookie counts under a path of its own, a link from a chat does not know that path: this page does.
function remember() {
  try {
    if (body.dataset.page !== "sign-in") {
      if (base) localStorage.setItem(SAVED, base);
      return;
    }
    const saved = localStorage.getItem(SAVED);
    localStorage.removeItem(SAVED);
    if (saved && !body.dataset.based && /^\/s\/[\w-]{22}$/.test(saved)) location.replace(saved + body.dataset.path);
  } catch {
    // Without storage one signs in again.
  }
}

remember();
showTimes(document);
countDown();
setInterval(countDown, 1000);
listen();
