/*
 * quart-sse-personal.js: the fetch of personal fragments, for pages that show one.
 *
 * A personal fragment's HTML is for one viewer, so the stream only says that it has changed, and the
 * page fetches it with the viewer's cookies.
 */
QuartSSE.provide("personal", (/** @type {any[]} */ ...inner) => {
  const [put, outside, received, sleep, , , fail] = inner;
  const TIMEOUT = 30000; // ms for one answer
  const MAX_DELAY = 30000; // ms, after a failure; the first is a second, and each is twice as long
  const MAX_REFUSED = 300000; // ms, after a refusal
  /** @type {Map<string, ?URL>} */
  const fetches = new Map(); // key of a personal fragment during its fetch -> its URL if it has changed since

  /**
   * @param {string} key
   * @param {any} root
   * @returns {boolean}
   */
  const isShown = (key, root = document) =>
    root.querySelector(`[data-sse='${key}']${outside}`) ||
    [...root.querySelectorAll("*")].some(({ shadowRoot }) => shadowRoot && isShown(key, shadowRoot));
  /**
   * @param {string} key
   * @param {string} html
   */
  const show = (key, html) =>
    put(`<hx-partial hx-target="[data-sse='${key}']" hx-swap="innerMorph">${html}</hx-partial>`);

  /**
   * Fetch a personal fragment once, and show it. What the viewer may not see any more is not left there.
   * @param {string} key
   * @param {URL} url
   * @returns {Promise<number>} ms before it is tried again at the latest, or 0
   */
  const load = async (key, url) => {
    const headers = { "HX-Request": "true" };
    const response = await fetch(url, { headers, signal: AbortSignal.timeout(TIMEOUT) });
    const html = await response.text();
    const { ok, redirected, status } = response;
    if (status === 429) return 1000 * +(response.headers.get("Retry-After") || 0) || MAX_DELAY;
    if (status > 499) return MAX_DELAY;
    const isRefused = redirected || !ok;
    show(key, isRefused ? "" : html);
    fail(key, isRefused);
    return isRefused ? MAX_REFUSED : 0;
  };

  /** The calls that end the delays, by the keys of what waits. @type {Map<string, () => void>} */
  const waking = new Map();

  /**
   * Fetch a personal fragment, and again if it has changed, or has not come, meanwhile.
   * @param {string} key
   * @param {?URL | undefined} url
   * @param {number} delay ms
   */
  return async (key, url, delay) => {
    const isFetching = fetches.has(key);
    fetches.size || received.clear();
    fetches.set(key, /** @type {URL} */ (url));
    waking.get(key)?.();
    if (isFetching) return;
    let failures = 0;
    while (fetches.get(key) && isShown(key)) {
      await sleep(delay);
      url = fetches.get(key);
      fetches.set(key, null);
      const most = await load(key, /** @type {URL} */ (url)).catch(() => MAX_DELAY);
      received.forEach(put); // it may be newer than what is inside
      failures = most ? failures + 1 : 0;
      if (!most) continue;
      fetches.set(key, fetches.get(key) || /** @type {URL} */ (url));
      // A change is asked for at once.
      await Promise.race([
        sleep(Math.min(1000 * 2 ** failures, most) * (0.5 + Math.random() / 2)),
        new Promise((resolve) => waking.set(key, () => resolve(0))),
      ]);
      waking.delete(key);
    }
    fetches.delete(key);
  };
});
