// Pictures come in two versions, and the reader's system chooses one. Where the reader chose light or dark for this
// site, that choice counts for pictures too.
"use strict";

const DARK = "(prefers-color-scheme: dark)";

function choosePictures() {
  const chosen = { light: "not all", dark: "all" }[document.body.dataset.theme] ?? DARK;
  for (const source of document.querySelectorAll("picture > source[data-dark]")) source.media = chosen;
}

document.addEventListener("DOMContentLoaded", () => {
  for (const source of document.querySelectorAll("picture > source")) {
    if (source.media === DARK) source.dataset.dark = "";
  }
  choosePictures();
  new MutationObserver(choosePictures).observe(document.body, { attributes: true, attributeFilter: ["data-theme"] });
});
