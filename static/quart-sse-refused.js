/*
 * quart-sse-refused.js: mark what of a page the server refuses; quart-sse.js loads it then.
 *
 * The fragments get the attribute data-sse-refused, and "sse:refused" says which topics and fragments
 * these are, at each change. An empty list says that all is granted again.
 */
QuartSSE.provide("refused", () => {
  let before = "";

  /**
   * Mark the fragments of a page; those that htmx puts in later as well.
   * @param {string[]} refused names of topics, and keys of fragments
   */
  const mark = (refused) =>
    document.querySelectorAll("[data-sse]").forEach((element) => {
      const key = /** @type {HTMLElement} */ (element).dataset.sse || "";
      const topic = key.replace(/\.[^?]*/, "");
      element.toggleAttribute("data-sse-refused", refused.includes(key) || refused.includes(topic));
    });

  return (/** @type {string[]} */ names) => {
    // What is not current by our fault is not refused.
    const refused = [...new Set(names)].filter((name) => name[0] !== "!").sort();
    mark(refused);
    if (before === (before = `${refused}`)) return;
    const topics = refused.filter((name) => !/^[^?]*\./.test(name));
    const fragments = refused.filter((name) => !topics.includes(name));
    document.dispatchEvent(new CustomEvent("sse:refused", { detail: { topics, fragments } }));
  };
});
