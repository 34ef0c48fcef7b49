/*!
 * quart_sse: says in the browser's console why a page is not live.
 *
 * `sse_scripts()` loads it while `app.debug` is set. It listens to the events of quart-sse.js and
 * changes nothing.
 */
(() => {
  "use strict";

  /**
   * Reason of `sse-stop` or `sse-holdoff` (docs/protocol.md) -> what it means and what to do.
   * @type {Object<string, string>}
   */
  const REASONS = {
    refused:
      "the server refuses the page's topics. Either @channel.authorize said no, or the page was made for another user. " +
      "Reload the page; if it happens again, look at authorize and @sse.identity.",
    expired: "the page's token has expired (QUART_SSE_TOKEN_LIFETIME). Reload the page.",
    "no-token":
      "the stream's URL has no parameter t. Put {{ sse_connect() }} into the page instead of writing it.",
    "too-long":
      "the page shows more topics than one stream may have (QUART_SSE_MAX_TOPICS, QUART_SSE_MAX_QUERY).",
    error:
      "a function of the app has failed: @sse.identity or @channel.authorize. The server's log has the traceback.",
    overloaded: "the process, a topic or the address has as many streams as it may (QUART_SSE_MAX_*).",
    "broker-away": "the broker is away. The server's log says since when.",
    evicted: "a newer stream of the same user or browser took this one's place (QUART_SSE_MAX_PER_BROWSER).",
    shutdown: "the server has stopped.",
    "max-age": "the stream has reached its age (QUART_SSE_MAX_AGE).",
    overflow: "the page reads more slowly than the server sends (QUART_SSE_PENDING_EVENTS).",
    disconnect: "the app has ended the user's streams (sse.disconnect, sse.logout).",
    recheck: "the app wants the user's access judged again (sse.recheck).",
  };

  /** @param {string} text */
  const say = (text) => console.warn(`quart_sse: ${text}`);
  /** @param {string} error */
  const why = (error) => REASONS[error] || (error ? `the answer was ${error}.` : "there was no answer.");

  const isOff = () => document.querySelector("[data-sse-off]");
  document.addEventListener("sse:stopped", (/** @type {any} */ { detail: { error } }) =>
    isOff()
      ? say("this page is not live: its template says sse_connect(enabled=false).")
      : say(`this page is not live any more: ${error ? why(error) : "QuartSSE.disconnect() was called."}`)
  );
  document.addEventListener("sse:retry", (/** @type {any} */ { detail: { error } }) =>
    say(`reconnecting: ${why(error)}`)
  );

  document.addEventListener("sse:refused", (/** @type {any} */ { detail: { topics, fragments } }) => {
    const names = [...topics, ...fragments].join(", ");
    if (!names) return;
    say(
      `the server refuses a part of this page, which does not change any more: ${names}. Either @channel.authorize or ` +
        "@channel.validate said no, the token has expired, or the app has closed the topic. The rest of the page is live."
    );
  });

  const CONNECT = "[sse-connect], [hx-sse\\:connect]";
  // Rows, whatever they hold, and other elements with something in them that users change.
  const ROWS =
    "li,tr,article,:is(div,section,fieldset):has(> input,> select,> textarea,> button,> details,> a)";
  /** @type {Set<?string>} */
  const named = new Set(); // keys of fragments that the console has named
  /** @param {Element} element */
  const hasRowsWithoutIds = (element) =>
    [...element.querySelectorAll(ROWS)].some((row) => {
      const other = row.nextElementSibling;
      const isKeyed =
        row.id || /** @type {HTMLElement} */ (row).dataset.item || row.matches("[data-key],[data-sse]");
      return !isKeyed && other?.localName === row.localName && !other.id;
    });
  /** @param {Element} element */
  const judgeRows = (element) => {
    const key = element.getAttribute("data-sse");
    if (named.has(key) || !hasRowsWithoutIds(element)) return;
    named.add(key);
    say(
      `rows of the fragment ${key} have no ids, so a row may be taken for its neighbour when one comes above. ` +
        'Give each an id, such as <li id="comment-7">.'
    );
  };
  addEventListener("sse:update", ({ target }) => judgeRows(/** @type {Element} */ (target)));

  addEventListener("load", () => {
    document.querySelectorAll("[data-sse]").forEach(judgeRows);
    /** @type {NodeListOf<HTMLElement>} */
    const fragments = document.querySelectorAll("[data-sse]");
    const elements = document.querySelectorAll(CONNECT);
    if (fragments.length && !elements.length && !isOff()) {
      const keys = [...fragments].map((element) => element.dataset.sse).join(", ");
      say(
        `nothing connects the fragments of this page (${keys}). Put {{ sse_connect() }} after them. If it is there, the ` +
          "template has failed before it: the server's log has the traceback."
      );
    }
    const swaps = [...document.querySelectorAll("[sse-swap], [hx-sse\\:swap]")];
    const names = swaps
      .filter((element) => !element.matches(CONNECT))
      .map((element) => element.getAttribute("sse-swap") || element.getAttribute("hx-sse:swap"));
    if (names.length) {
      say(
        `sse-swap="${names.join('", "')}" does nothing: it belongs to htmx's SSE extension, which this page does not load. ` +
          "Show a fragment instead ({{ sse_fragment(...) }} and topic.refresh()); or let the event trigger a request, " +
          "hx-trigger=\"{{ sse_event('channel.event', ...) }} from:document\"."
      );
    }
    if (elements.length && !document.documentElement.dataset.sseState) {
      say(
        "quart-sse.js takes no connect element of this page: its origin is not listed in sse_scripts(origins=[...])."
      );
    }
  });
})();
