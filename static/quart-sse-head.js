/*
 * quart-sse-head.js: what has to be there before anything else runs. It notes for quart-sse-sent.js what
 * the parser and scripts make of the page, calls back for events, and shows the texts of the connection's
 * state.
 */
(() => {
  const MAX_BATCHES = 1000; // without the oldest, what its scripts have made counts as the server's

  /** @type {WeakSet<Element>} */
  const touched = new WeakSet(); // fields that have said something else than the server, until a reset
  /** @type {[MutationRecord[], any][]} */
  const batches = []; // changes, and whether scripts have made them
  let isParsed = document.readyState !== "loading";

  // Users may have named an element so.
  const running = () => /** @type {any} */ (Reflect.get(Document.prototype, "currentScript", document));

  /** @param {MutationRecord[]} records */
  const note = (records) => {
    if (batches.push([records, isParsed || running()]) > MAX_BATCHES) batches.shift();
  };
  // The parser's changes are seen before a script runs, and those of a script while it is the current one.
  const observer = new MutationObserver(note);
  observer.observe(document, { childList: true, subtree: true, attributeOldValue: true });
  document.addEventListener("readystatechange", () => {
    note(observer.takeRecords());
    isParsed = true;
  });
  addEventListener(
    "reset",
    ({ target }) => {
      for (const field of /** @type {any} */ (target).elements) touched.delete(field);
    },
    true
  );

  /** What quart-sse-sent.js needs, and adds to. Private. */
  QuartSSE.sent = {
    touched,
    /** Return what was noted, and note no more. */
    stop: () => {
      note(observer.takeRecords());
      observer.disconnect();
      return batches.splice(0);
    },
  };

  // -- for users and scripts -----------------------------------------------------------------------

  // Texts of the state are shown by a rule that is no part of the document, so a copy that was saved to
  // disk says what the server has said: that it is not live.
  const sheet = new CSSStyleSheet();
  const texts = ["connecting", "open", "partial", "retry", "stopped"].map(
    (state) => `:root[data-sse-state=${state}] [data-state=${state}]`
  );
  sheet.replaceSync(
    `[data-sse-status]>:not(${texts}){display:none!important}:where([data-sse-status]>*){display:inline}`
  );
  document.adoptedStyleSheets.push(sheet);

  // An empty link would lead to where <base> does.
  addEventListener("click", ({ target }) => {
    const link = /** @type {any} */ (target).closest?.("[data-sse-refresh]");
    if (link) link.href = location.href.replace(/#.*/, "");
  });

  /**
   * Call back for an event: on("comments", "added", {discussion_id: 7}, callback), of a topic without
   * parameters on("news", "added", callback), and for every event on("*", callback). That ends with
   * the script element that calls it: a part of a page that comes again brings it again.
   * @param {string} channel
   * @param {any} event
   * @param {any} params
   * @param {(data: any, message: any) => void} callback
   */
  QuartSSE.on = (channel, event, params, callback = params || event) => {
    const expected = new URLSearchParams(params);
    expected.sort();
    const caller = running();
    const listen = (/** @type {any} */ { detail }) => {
      if (caller?.isConnected === false) return stop();
      const [name, query] = detail.event.split("?");
      const isMatch = name === `${channel}.${event}` && `${new URLSearchParams(query)}` === `${expected}`;
      if (isMatch || channel === "*") callback(detail.data, detail);
    };
    const stop = () => removeEventListener("sse:message", listen);
    addEventListener("sse:message", listen);
    return stop;
  };
})();
