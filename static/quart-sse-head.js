/*
 * quart-sse-head.js: what has to be noted before anything else runs, for quart-sse-morph.js: what of a
 * page the server has sent and what scripts have made, and where clicks begin.
 *
 * What the server has sent is kept as inert nodes, each tied to the live node that was made of it.
 */
(() => {
  const MAX_BATCHES = 1000; // without the oldest, what its scripts have made counts as the server's
  const NEAR = 8; // px that a pointer may move between the ends of a click

  const inert = document.implementation.createHTMLDocument("");
  /** @type {WeakMap<Node, any>} */
  const liveOf = new WeakMap(); // sent node -> live node
  /** @type {WeakMap<Node, any>} */
  const sentOf = new WeakMap(); // live node -> sent node
  /** @type {WeakSet<Element>} */
  const touched = new WeakSet(); // fields that have said something else than the server, until a reset
  /** @type {[MutationRecord[], any][]} */
  let batches = []; // changes, and whether scripts have made them
  let isParsed = document.readyState !== "loading";
  // What scripts had done before the page was looked at.
  /** @type {Map<any, Map<string, ?string>>} */
  const attributes = new Map(); // element -> attributes that it had
  /** @type {Map<any, any[]>} */
  const children = new Map(); // element -> children that it had
  /** @type {Map<any, any>} */
  const standIns = new Map(); // node that has gone -> the one in its place

  /** @param {MutationRecord[]} records */
  const note = (records) => {
    // Users may have named an element so.
    const script = Reflect.get(Document.prototype, "currentScript", document);
    if (batches.push([records, isParsed || script]) > MAX_BATCHES) batches.shift();
  };
  // The parser's changes are seen before a script runs, and those of a script while it is the current one.
  const observer = new MutationObserver(note);
  observer.observe(document, { childList: true, subtree: true, attributeOldValue: true });
  document.addEventListener("readystatechange", () => {
    note(observer.takeRecords());
    isParsed = true;
  });

  /**
   * @param {any} sent
   * @param {any} live
   */
  const tie = (sent, live) => {
    liveOf.set(sent, live);
    sentOf.set(live, sent);
  };

  /**
   * @param {any} sent
   * @param {any} live
   */
  const tieAll = (sent, live) => {
    tie(sent, live);
    for (let i = 0; i < sent.childNodes.length; i++) tieAll(sent.childNodes[i], live.childNodes[i]);
  };

  /**
   * Give an element an attribute of another one, or take it away. Some names only the parser may give.
   * @param {any} node
   * @param {string} name
   * @param {any} from
   */
  const setAttribute = (node, name, from) => {
    const attribute = from.getAttributeNode(name);
    if (attribute) node.setAttributeNode(attribute.cloneNode());
    else node.removeAttribute(name);
  };

  /**
   * Copy a live node as the server has sent it, and tie the two.
   * @param {any} live
   */
  const copy = (live) => {
    const { localName } = live;
    // A clone of a field would have what the user has typed, too.
    const isField = /^(input|textarea)$/.test(localName);
    const isTemplate = localName === "template";
    const sent = isField ? inert.createElement(localName) : inert.importNode(live, isTemplate);
    if (isField) for (const { name } of live.attributes) setAttribute(sent, name, live);
    attributes.get(live)?.forEach((value, name) => {
      value === null ? sent.removeAttribute(name) : sent.setAttribute(name, value);
    });
    if (localName === "script" && live.nonce) sent.setAttribute("nonce", live.nonce); // which browsers hide
    tie(sent, live);
    if (!live.isConnected && standIns.has(live)) liveOf.set(sent, standIns.get(live));
    if (localName && !isTemplate)
      for (const child of children.get(live) || live.childNodes) sent.append(copy(child));
    return sent;
  };

  /** Find out what scripts have done since the page began, newest first. */
  const rewind = () => {
    for (const [records, isScripted] of batches.reverse()) {
      const fresh = new Set(records.flatMap(({ addedNodes }) => [...addedNodes]));
      /** @param {any} target */
      const fillsItself = (target) =>
        // The parser puts its children into it only in the next batch.
        fresh.has(target) && customElements.get(target.localName)?.prototype.connectedCallback;
      for (const record of records.reverse()) {
        const { target, attributeName, oldValue, addedNodes, removedNodes, nextSibling } = record;
        if (attributeName) {
          if (!attributes.has(target)) attributes.set(target, new Map());
          attributes.get(target)?.set(attributeName, oldValue);
        } else if (isScripted || fillsItself(target)) {
          const added = [...addedNodes];
          const rest = (children.get(target) || [...target.childNodes]).filter(
            (node) => !added.includes(node)
          );
          const at = rest.indexOf(nextSibling);
          rest.splice(at < 0 ? rest.length : at, 0, ...removedNodes);
          children.set(target, rest);
          added.forEach((node, i) => standIns.set(removedNodes[i], standIns.get(node) || node));
        }
      }
    }
  };

  /**
   * Take note of what scripts have done since the last time: of nodes that stand for others now, and of
   * new fragments.
   * @param {MutationRecord[]} records
   */
  const see = (records) => {
    for (const { addedNodes, removedNodes } of records)
      removedNodes.forEach((node, i) => {
        const sent = !node.isConnected && sentOf.get(node);
        if (sent && addedNodes[i]?.isConnected) liveOf.set(sent, addedNodes[i]);
      });
    for (const live of document.querySelectorAll("[data-sse]")) if (!sentOf.has(live)) copy(live);
  };
  addEventListener(
    "reset",
    ({ target }) => {
      for (const field of /** @type {any} */ (target).elements) touched.delete(field);
    },
    true
  );

  /** What the other files need. Private. */
  QuartSSE.sent = {
    inert,
    liveOf,
    sentOf,
    tie,
    tieAll,
    setAttribute,
    touched,
    copy,
    see,
    /** Copy all fragments that are there, as the server has sent them. */
    begin: () => {
      note(observer.takeRecords());
      observer.disconnect();
      rewind();
      see([]);
      for (const each of [attributes, children, standIns]) each.clear();
      batches = [];
    },
  };

  // A click that began on an element ends on it, also if an update has moved the element away meanwhile.
  /** @type {?PointerEvent} */
  let press = null;
  /** @type {?PointerEvent} */
  let shifted = null; // the press during which there was an update
  addEventListener("pointerdown", (event) => (press = event), true);
  addEventListener("sse:update", () => (shifted = press));
  addEventListener(
    "click",
    (event) => {
      const { target, clientX, clientY } = /** @type {any} */ (press || event);
      const isMissed = press && press === shifted && target.isConnected && !target.contains(event.target);
      press = null;
      if (!isMissed || Math.hypot(event.clientX - clientX, event.clientY - clientY) > NEAR) return;
      event.stopImmediatePropagation();
      event.preventDefault();
      target.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true, composed: true }));
    },
    true
  );
})();
