/*
 * quart-sse-sent.js: what of a page the server has sent and what scripts have made, for quart-sse-morph.js;
 * which updates these are; and where clicks end while there are some.
 *
 * What the server has sent is kept as inert nodes, each tied to the live node that was made of it.
 */
(() => {
  const NEAR = 8; // px that a pointer may move between the ends of a click

  const { sent } = QuartSSE;
  const inert = document.implementation.createHTMLDocument("");
  /** @type {WeakMap<Node, any>} */
  const liveOf = new WeakMap(); // sent node -> live node
  /** @type {WeakMap<Node, any>} */
  const sentOf = new WeakMap(); // live node -> sent node
  // What scripts had done before the page was looked at.
  /** @type {Map<any, Map<string, ?string>>} */
  const attributes = new Map(); // element -> attributes that it had
  /** @type {Map<any, any[]>} */
  const children = new Map(); // element -> children that it had
  /** @type {Map<any, any>} */
  const standIns = new Map(); // node that has gone -> the one in its place
  /** @type {any} what quart-sse-morph.js hands over */
  let morph;
  /** @type {(how: string, text: string) => any} */
  let trust; // makes a text what the page's policy lets scripts write

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
   * Give an element an attribute, or take it away.
   * @param {any} node
   * @param {string} name
   * @param {?string} value
   * @param {any} [from] an element that has it, for some names only the parser may give
   */
  const set = (node, name, value, from) => {
    // A policy may forbid to copy those that are code, or lead to it.
    const kind = /** @type {any} */ (window).trustedTypes?.getAttributeType(node.localName, name);
    if (value === null) node.removeAttribute(name);
    else if (from && !kind) node.setAttributeNode(from.getAttributeNode(name).cloneNode());
    else node.setAttribute(name, kind ? trust(kind.replace("Trusted", "create"), value) : value);
  };

  /**
   * Give an element an attribute of another one, or take it away.
   * @param {any} node
   * @param {string} name
   * @param {any} from
   */
  const setAttribute = (node, name, from) => set(node, name, from.getAttribute(name), from);

  /**
   * Make of a script that does not run one that does.
   * @param {any} dead
   */
  const revive = (dead) => {
    const script = document.createElement("script");
    for (const { name } of dead.attributes) setAttribute(script, name, dead);
    script.text = trust("createScript", dead.text);
    tie(sentOf.get(dead), script);
    return script;
  };

  /**
   * Make inert nodes of the HTML of a fragment.
   * @param {any} live
   * @param {string} html
   */
  const parse = (live, html) => {
    const next = inert.importNode(live, false);
    // The parser drops a line break at the beginning of these, but not here.
    const text = /^(pre|textarea)$/.test(live.localName) ? html.replace(/^\n/, "") : html;
    morph.write(next, trust("createHTML", text));
    return next;
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
    attributes.get(live)?.forEach((value, name) => set(sent, name, value));
    if (localName === "script" && live.nonce) sent.setAttribute("nonce", live.nonce); // which browsers hide
    tie(sent, live);
    if (!live.isConnected && standIns.has(live)) liveOf.set(sent, standIns.get(live));
    if (localName && !isTemplate)
      for (const child of children.get(live) || live.childNodes) sent.append(copy(child));
    return sent;
  };

  /** Find out what scripts have done since the page began, newest first. */
  const rewind = () => {
    for (const [records, isScripted] of /** @type {[MutationRecord[], any][]} */ (sent.stop()).reverse()) {
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
  /**
   * Put HTML into all elements of a fragment; an error, also one of the page's own code, is told.
   * @param {string} key
   * @param {any} html that of an item comes with its key and place
   * @param {any[]} inner what quart-sse.js hands over
   */
  const update = (key, html, [, outside, , , , , fail, need]) => {
    const all = morph.find(document, `[data-sse='${key}']${outside}`);
    // It is in a shadow tree, or has one.
    if (!morph.shadows && (!all[0] || /shadowrootmode/i.test(html))) return need("shadow", morph, key, html);
    /** @type {any} */
    let failure;
    const note = (/** @type {ErrorEvent} */ { error, message }) => {
      failure = error || message;
    };
    addEventListener("error", note);
    for (const live of all)
      try {
        morph.put(live, html);
      } catch (error) {
        reportError(error);
      }
    removeEventListener("error", note);
    fail(`!${key}`, failure);
    if (failure)
      document.dispatchEvent(new CustomEvent("sse:error", { detail: { fragment: key, error: failure } }));
  };

  /** What the other files need. Private. */
  Object.assign(sent, {
    liveOf,
    sentOf,
    tie,
    tieAll,
    setAttribute,
    revive,
    parse,
    copy,
    see,
    /**
     * Copy all fragments that are there, as the server has sent them, and update them from now on.
     * @param {any} hooks
     */
    begin: (hooks) => {
      morph = hooks;
      QuartSSE.provide("swap", (/** @type {any[]} */ ...inner) => {
        trust = inner[5];
        rewind();
        see([]);
        for (const each of [attributes, children, standIns]) each.clear();
        if ([...document.querySelectorAll("*")].some(({ shadowRoot }) => shadowRoot))
          inner[7]("shadow", morph);
        morph.update = (/** @type {string} */ key, /** @type {any} */ html) => update(key, html, inner);
        return (/** @type {string} */ message) => {
          for (const partial of message.split("<hx-partial ")) {
            const [, key, more, html] = /'(.*?)'([^>]*)>(.*)<\/hx-partial>$/s.exec(partial) || [];
            if (key) morph.update(key.replaceAll("&amp;", "&"), /^ /.test(more) ? [html, more] : html);
          }
        };
      });
    },
  });

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
