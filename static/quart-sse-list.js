/*
 * quart-sse-list.js: items of lists, one by one, for pages that show a list.
 *
 * An item takes the place of the element with its key, else it goes where its order says. Everything
 * else in the page stays as it is. See docs/lists.md.
 */
(() => {
  const ITEM = "[data-sse-item]";
  const FOLLOW = "[data-sse-follow]";
  const NEAR = 8; // px from the end that count as being there

  /** @param {any} node */
  const keyOf = (node) => node.getAttribute("data-sse-item");

  /**
   * The items of a list: of its element as the server has sent it, or of the live one.
   * @param {any} list
   * @returns {any[]}
   */
  const itemsOf = (list) =>
    [...list.querySelectorAll(ITEM)].filter(
      (each) => each.parentNode === list || each.parentNode.closest("[data-sse]") === list
    );

  /**
   * An order as it is compared: numbers come before texts, which begin with "=".
   * @param {string} text
   * @returns {any}
   */
  const orderOf = (text) => (/^=/.test(text) ? text : /^-?\d+$/.test(text) ? BigInt(text) : +text);
  /**
   * Whether one order is below another.
   * @param {any} a
   * @param {any} b
   */
  const isBelow = (a, b) =>
    typeof a === "string" || typeof b === "string"
      ? typeof a === typeof b
        ? a < b
        : typeof b === "string"
      : a < b;

  /**
   * Find the item before which one goes, by its order.
   * @param {any[]} items of the list, without that one
   * @param {?string} order
   * @param {boolean} isAtEnd whether the order ascends
   */
  const findNext = (items, order, isAtEnd) => {
    if (order === null) return isAtEnd ? null : items[0];
    const value = orderOf(order);
    const other = (/** @type {any} */ each) => orderOf(each.getAttribute("data-sse-order") ?? "=");
    if (!isAtEnd) return items.find((each) => !isBelow(value, other(each)));
    let i = items.length;
    while (i && isBelow(value, other(items[i - 1]))) i--;
    return items[i];
  };

  /**
   * Put an item into a list, or take it away.
   * @param {any} live the list's element
   * @param {string} html "" if the item has gone
   * @param {string} more its key, where items without an order go, and how many the list keeps
   * @param {any[]} tools functions of quart-sse-morph.js
   */
  QuartSSE.item = (live, html, more, ...tools) => {
    const [run, find, inside, isEqual, isLike, make, merge, put] = tools;
    const { liveOf, sentOf, parse } = QuartSSE.sent;
    const [, key, place, keep] = more.split(" ");
    const isAtEnd = place === "end";
    run(live, (/** @type {Set<any>} */ gone) => {
      const drop = (/** @type {any} */ sent) => {
        gone.add(sent);
        sent.remove();
      };
      const list = sentOf.get(live);
      const node = parse(live, html).querySelector(ITEM);
      let items = itemsOf(list);
      let old = items.find((each) => keyOf(each) === key);
      if (!node) {
        if (old) drop(old);
        return;
      }
      const order = node.getAttribute("data-sse-order");
      const isMoved = old && order !== null && old.getAttribute("data-sse-order") !== order;
      const parent = items[0]?.parentNode || list;
      items = items.filter((each) => each !== old);
      if (old && !isLike(old, node)) {
        drop(old);
        old = null;
      }
      const liveParent = liveOf.get(parent);
      if (!old) {
        const next = findNext(items, order, isAtEnd);
        parent.insertBefore(node, next || null);
        put(liveParent, make(node), inside(liveParent, next && find(next)));
      } else {
        const element = find(old);
        const place = inside(liveParent, element);
        if (isMoved) {
          const next = findNext(items, order, isAtEnd);
          parent.insertBefore(old, next || null);
          if (place) put(liveParent, place, inside(liveParent, next && find(next)));
        }
        if (isEqual(old, node)) return;
        if (element && sentOf.get(element) === old) merge(old, node, element);
        else {
          // A script has removed or replaced it, and the server has changed it.
          let next = old.nextSibling;
          while (next && !find(next)) next = next.nextSibling;
          put(liveParent, make(node), place || inside(liveParent, next && find(next)));
          element?.remove();
          old.replaceWith(node);
        }
      }
      items = itemsOf(list);
      while (keep && items.length > +keep) drop(isAtEnd ? items.shift() : items.pop());
    });
  };

  // -- following the end -----------------------------------------------------------------------------

  /** @param {any} scroller */
  const listOf = (scroller) =>
    scroller.matches("[data-sse]") ? scroller : scroller.querySelector("[data-sse]") || scroller;
  /**
   * Whether the newest items are at the top: where the element begins, if it says so.
   * @param {any} scroller
   */
  const isUp = (scroller) => scroller.dataset.sseFollow === "start";
  /** @param {any} scroller */
  const isThere = (scroller) =>
    (isUp(scroller)
      ? scroller.scrollTop
      : scroller.scrollHeight - scroller.clientHeight - scroller.scrollTop) < NEAR;
  /** @param {any} scroller */
  const go = (scroller) => (scroller.scrollTop = isUp(scroller) ? 0 : scroller.scrollHeight);
  /** @param {any} scroller */
  const newest = (scroller) => keyOf(itemsOf(listOf(scroller)).at(isUp(scroller) ? 0 : -1) || scroller);

  /**
   * Change lists, and let those that show their end go on showing it.
   * @param {() => void} change
   */
  const follow = (change) => {
    const before = [...document.querySelectorAll(FOLLOW)].map((each) => [each, isThere(each), newest(each)]);
    change();
    for (const [scroller, wasThere, key] of /** @type {any[]} */ (before)) {
      const latest = newest(scroller);
      if (wasThere) go(scroller);
      else if (latest !== null && latest !== key) {
        scroller.dataset.sseBelow = "";
        scroller.dispatchEvent(
          new CustomEvent("sse:below", { bubbles: true, detail: { item: decodeURIComponent(latest) } })
        );
      }
    }
  };
  addEventListener(
    "scroll",
    ({ target }) => {
      const { dataset } = /** @type {any} */ (target);
      if (dataset?.sseBelow === "" && isThere(target)) delete dataset.sseBelow;
    },
    true
  );
  const begin = () => document.querySelectorAll(FOLLOW).forEach(go);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();

  QuartSSE.provide(
    "list",
    (/** @type {(html: string) => void} */ put) => (/** @type {string} */ html) => follow(() => put(html))
  );
})();
