/*
 * quart-sse-plain.js: put fragments into pages without htmx; see sse_scripts(htmx=false).
 */
QuartSSE.provide(
  "swap",
  () => (/** @type {string} */ html) =>
    document
      .createRange()
      .createContextualFragment(
        // A template keeps the rows of a table.
        html.replaceAll("<hx-partial ", "<template ").replaceAll("</hx-partial", "</template")
      )
      .querySelectorAll("template")
      .forEach((partial) =>
        document
          .querySelectorAll(/** @type {string} */ (partial.getAttribute("hx-target")))
          .forEach((element) => {
            /** @type {any} */
            const swap = partial.getAttribute("hx-swap");
            if (/^(before|after)/.test(swap)) element.insertAdjacentHTML(swap, partial.innerHTML);
            else element.innerHTML = partial.innerHTML;
          })
      )
);
