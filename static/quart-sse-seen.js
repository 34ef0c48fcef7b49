/*
 * quart-sse-seen.js: drop events that the page shows already; see sse_seen().
 *
 * A page starts at the position from before its view read the data, so it misses nothing, and is sent
 * what was published between the two although it shows that. An element with data-sse-seen="event key id"
 * shows the event of that name whose data have that id by that key; without a key the data are the id.
 */
(() => {
  const ATTRIBUTE = "data-sse-seen";
  const SEEN = `[${ATTRIBUTE}]`;
  // HTML of users is in such elements. With htmx 4 hx-disable="selector" is something else.
  const htmx = window.htmx?.swap?.call && window.htmx; // no element to which users gave that name
  const MARKS = htmx && !htmx.defineExtension ? "[hx-disable=''],[hx-disable=true]" : "[hx-disable]";
  const OUTSIDE = `${MARKS},${MARKS.replaceAll("hx", "data-hx")},[hx-ignore],[data-hx-ignore]`;
  const names = new Set();

  const drop = (/** @type {any} */ event) => {
    const { event: name, data } = event.detail;
    for (const element of document.querySelectorAll(`[${ATTRIBUTE}^=${CSS.escape(`${name} `)}]`)) {
      const mark = /** @type {string} */ (element.getAttribute(ATTRIBUTE));
      const [, key, id] = /** @type {string[]} */ (/^\S+ (\S*) (.*)/s.exec(mark) || [mark, "", ""]);
      if (`${key ? data?.[key] : data}` === id && !element.closest(OUTSIDE))
        return event.stopImmediatePropagation();
    }
  };

  /** @param {string} name */
  const listen = (name) => {
    if (names.has(name)) return;
    names.add(name);
    addEventListener(name, drop, true); // before all who listen, also those of hx-trigger
  };

  /** @param {any} node */
  const find = (node) => {
    const elements = node.querySelectorAll?.(SEEN) || [];
    [node, ...elements].forEach((element) => {
      const mark = element.getAttribute?.(ATTRIBUTE);
      if (mark) listen(mark.split(" ")[0]);
    });
  };

  listen("sse:message");
  find(document);
  new MutationObserver((records) => records.forEach((each) => each.addedNodes.forEach(find))).observe(
    document,
    {
      childList: true,
      subtree: true,
    }
  );
})();
