/*
 * quart-sse-reload.js: reload a page whose token has expired, as on a wall display; see sse_scripts().
 */
QuartSSE.provide("reload", () => {
  const HOUR = 3600000; // ms
  let isDirty = false; // whether the user has changed a field
  addEventListener("input", () => (isDirty = true), true);

  /** Reload the page if the user has changed no field, and not before the page is an hour old. */
  return async () => {
    await new Promise((resolve) => setTimeout(resolve, HOUR - performance.now()));
    if (!isDirty && document.documentElement.dataset.sseState === "stopped") location.reload();
  };
});
