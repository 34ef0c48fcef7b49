/*
 * quart-sse-reload.js: reload a page whose token has expired, as on a wall display; see sse_scripts().
 */
(() => {
  const HOUR = 3600000; // ms
  let isDirty = false; // whether the user has changed a field
  addEventListener("input", () => (isDirty = true), true);

  // Not before the page is an hour old, and not if the user has changed a field.
  addEventListener("sse:stopped", async (/** @type {any} */ { detail }) => {
    if (detail.error !== "expired") return;
    await new Promise((resolve) => setTimeout(resolve, HOUR - performance.now()));
    if (!isDirty && document.documentElement.dataset.sseState === "stopped") location.reload();
  });
})();
