// Keys of the explorer. Widgets live in shadow trees, so buttons are looked for through all of them.
"use strict";

function find(selector, root = document) {
  const here = root.querySelector(selector);
  if (here) return here;
  for (const element of root.querySelectorAll("*")) {
    const below = element.shadowRoot && find(selector, element.shadowRoot);
    if (below) return below;
  }
  return null;
}

function press(mark) {
  const button = find(`.do-${mark}`)?.shadowRoot?.querySelector("button");
  if (button && !button.disabled) button.click();
}

function openTab(place) {
  const heads = find(".side-tabs")?.shadowRoot?.querySelectorAll(".bk-tab");
  heads?.[place]?.click();
}

function typing() {
  let element = document.activeElement;
  while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
  return element && (["INPUT", "TEXTAREA", "SELECT"].includes(element.tagName) || element.isContentEditable);
}

const PRESSED = { ArrowLeft: "previous", ArrowRight: "next", a: "as-first", b: "as-second", g: "pick", i: "invert", Escape: "clear" };

document.addEventListener("keydown", (event) => {
  const dialog = document.getElementById("keys");
  if (dialog.open) return;
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") {
    if (typing()) return;
    press("undo");
    event.preventDefault();
  } else if (event.ctrlKey || event.metaKey || event.altKey || typing()) {
    return;
  } else if (event.key === "?") {
    dialog.showModal();
  } else if (event.key === "/") {
    const focus = () => find(".find-particle")?.shadowRoot?.querySelector("input")?.focus();
    openTab(0);
    focus();
    // A tab that was hidden takes the focus only once it has been drawn.
    requestAnimationFrame(focus);
    event.preventDefault();
  } else if (/^[1-5]$/.test(event.key)) {
    openTab(Number(event.key) - 1);
  } else if (event.key in PRESSED) {
    press(PRESSED[event.key]);
    event.preventDefault();
  }
});

document.addEventListener("DOMContentLoaded", () => {
  document.getElementById("help").addEventListener("click", () => document.getElementById("keys").showModal());
  document.getElementById("theme").addEventListener("click", () => {
    const address = new URL(window.location);
    address.searchParams.set("dark", document.documentElement.classList.contains("dark") ? "false" : "true");
    window.location.assign(address);
  });
});
