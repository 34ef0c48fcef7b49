/*
 * quart-sse-personal.js: the fetch of personal fragments, for pages that show one.
 *
 * A personal fragment's HTML is for one viewer, so the stream only says that it has changed, and the
 * page fetches it with the viewer's cookies.
 */
QuartSSE.provide(
  "personal",
  (
    /** @type {(html: string) => void} */ put,
    /** @type {string} */ outside,
    /** @type {Map<string, string>} */ received,
    /** @type {(ms: number) => Promise<void>} */ sleep
  ) => {
    const MAX_DELAY = 30000; // ms, after a failure
    /** @type {Map<string, boolean>} */
    const fetches = new Map(); // key of a personal fragment during its fetch -> whether it has changed since

    /** @param {string} key */
    const isShown = (key) => document.querySelector(`[data-sse='${key}']${outside}`);

    /**
     * Fetch a personal fragment, and again if it has changed, or has not come, meanwhile.
     * @param {string} key
     * @param {URL} url
     * @param {number} delay ms
     */
    return async (key, url, delay) => {
      const isFetching = fetches.has(key);
      fetches.size || received.clear();
      fetches.set(key, true);
      if (isFetching) return;
      while (fetches.get(key) && isShown(key)) {
        await sleep(delay);
        fetches.set(key, false);
        try {
          const response = await fetch(url, { headers: { "HX-Request": "true" } });
          const html = await response.text();
          if (response.ok && !response.redirected)
            put(`<hx-partial hx-target="[data-sse='${key}']" hx-swap="innerMorph">${html}</hx-partial>`);
          received.forEach(put); // it may be newer than what is inside
          if (response.status > 499) throw 0;
        } catch {
          fetches.set(key, true);
          delay = MAX_DELAY * Math.random();
        }
      }
      fetches.delete(key);
    };
  }
);
