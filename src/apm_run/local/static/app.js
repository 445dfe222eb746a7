// The frame of the page: which view the address names, and when to ask for news.

import { bytes, colour, h, link, morph } from "./dom.js";
import { closeDrawer } from "./detail.js";
import { views } from "./views.js";
import { trace } from "./trace.js";

const POLL = 1000;
const all = { ...views, trace };
const main = document.getElementById("main");
const live = document.getElementById("live");
const range = document.getElementById("range");
let seen = null; // the state that is drawn
let drawn = 0; // numbers the drawings, so that a late answer does not overwrite a newer one
let quiet = 0; // polls without news
let paused = false;
let address = null;

/** Ask the receiver; null when it has no such thing. */
async function ask(question, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined) query.set(name, value);
  }
  if (range.value && question !== "trace" && question !== "event") {
    query.set("since", String((Math.floor(Date.now() / 1000) - Number(range.value)) * 1_000_000));
  }
  const answer = await fetch(`/api/${question}?${query}`);
  if (answer.status === 404) return null;
  if (!answer.ok) throw new Error(`${question}: ${answer.status}`);
  return answer.json();
}

function place() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  return { view: path || "services", parameters: Object.fromEntries(new URLSearchParams(query ?? "")) };
}

/** Show the view that the address names; with `news`, only because events have arrived. */
async function draw(news = false) {
  const mine = ++drawn;
  const { view, parameters } = place();
  const found = all[view];
  if (!found) {
    location.hash = "#/services";
    return;
  }
  const moved = address !== location.hash;
  let content;
  try {
    content = await found({ ask, parameters, redraw: () => draw(), news: news && !moved });
  } catch (error) {
    if (mine === drawn) connection(false);
    return;
  }
  if (mine !== drawn || content === null) return;
  if (moved) {
    const whole = (hash) => hash?.replace(/[?&]item=[^&]*/, "");
    if (whole(address) !== whole(location.hash)) {
      main.replaceChildren();
      scrollTo(0, 0);
    }
    address = location.hash;
  }
  morph(main, h("div.view", { "data-key": view }, content));
  for (const anchor of document.querySelectorAll("#nav a")) {
    const here = anchor.getAttribute("href") === link(view);
    anchor.toggleAttribute("aria-current", here);
    if (here) anchor.setAttribute("aria-current", "page");
  }
}

function connection(up) {
  live.classList.toggle("lost", !up);
  live.classList.toggle("paused", paused);
  live.setAttribute("aria-pressed", String(!paused));
  live.querySelector("span").textContent = !up ? "No receiver" : paused ? "Paused" : "Live";
}

async function poll() {
  if (!paused && !document.hidden) {
    try {
      const state = await ask("state");
      connection(true);
      state.services.forEach(colour);
      document.getElementById("store").textContent =
        `${bytes(state.size)} of ${bytes(state.size_cap)}${state.evicted ? ", oldest evicted" : ""}`;
      const rejected = document.getElementById("rejected");
      rejected.hidden = !state.rejected;
      rejected.querySelector("i").textContent = state.rejected;
      // Times like "5 s ago" grow old by themselves.
      if (state.change !== seen || ++quiet >= 10) {
        seen = state.change;
        quiet = 0;
        await draw(true);
      }
    } catch {
      connection(false);
      if (address === null) await draw();
    }
  }
  setTimeout(poll, POLL);
}

addEventListener("hashchange", () => {
  if (!location.hash.includes("item=")) closeDrawer();
  if (location.hash === "#main") {
    history.replaceState(null, "", address ?? "#/services");
    main.focus();
    return;
  }
  draw();
});
live.onclick = () => {
  paused = !paused;
  seen = null;
  connection(true);
};
range.value = localStorage.getItem("range") ?? "";
range.onchange = () => {
  localStorage.setItem("range", range.value);
  draw();
};
document.getElementById("clear").onclick = async () => {
  if (!confirm("Forget all events of this receiver?")) return;
  await fetch("/api/clear", { method: "POST" });
  location.hash = "#/services";
  draw();
};
poll();
