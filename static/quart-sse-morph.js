/*
 * quart-sse-morph.js: put new HTML of fragments into the page, by three-way morphing.
 *
 * New HTML is compared with what the server has sent last, of which quart-sse-sent.js has the first copy,
 * and only what differs is changed in the page. So what scripts, htmx and the user have done stays, until
 * the server changes that very thing.
 *
 * A *sent* node is one of what the server has sent last, a *next* node one of the new HTML, a *live*
 * node one of the page. Live nodes that are tied to no sent node are *foreign*: scripts have made them.
 */
(() => {
  const KEEP = "[data-sse-keep],[hx-preserve],[hx-morph-skip],noscript"; // are left as they are
  const KEYED = "[data-sse],[data-sse-item],[data-item],[data-key],[id]"; // by which elements are recognised
  const FILLED = "[x-text],[x-html]"; // whose children Alpine makes
  const FIELDS = "input,textarea,option,details,dialog";
  const STATE = ["value", "checked", "selected", "open"]; // which users and scripts change beside the attribute

  const { liveOf, sentOf, tieAll, setAttribute, revive, parse, see, begin, touched } = QuartSSE.sent;
  /** @type {WeakMap<Node, any>} */
  const instead = new WeakMap(); // sent node that htmx has put in -> the one whose place it took

  // What the current update works on.
  /** @type {any} */
  let root; // the fragment's live element
  /** @type {Map<any, boolean>} */
  let made; // live elements for htmx -> whether they are new; others have other hx- attributes
  /** @type {any} */
  let keyed; // key -> sent element, of all before any has gone
  /** @type {Set<any>} */
  let gone; // sent nodes that the server has no more, unless they are somewhere else
  /** @type {?Map<any, any>} */
  let selects; // select -> the values that the user has chosen; null until they are needed
  /** @type {boolean} */
  let hasTemplates; // whether isEqualNode says too little
  /**
   * @param {any} node
   * @param {string} name
   */
  const get = (node, name) => node.getAttribute?.(name);

  const observer = new MutationObserver((records) => hooks.see(records));

  // -- matching ------------------------------------------------------------------------------------

  /**
   * @param {any} a
   * @param {any} b
   */
  const isEqual = (a, b) =>
    !hooks.hasShadows && a.isEqualNode(b) && (!hasTemplates || a.outerHTML === b.outerHTML);
  /** @param {any} node */
  const keyOf = (node) =>
    get(node, "data-sse") ||
    get(node, "data-sse-item") ||
    get(node, "data-item") ||
    get(node, "data-key") ||
    get(node, "id");
  /** @param {any} node */
  const textOf = (node) => node.outerHTML || (/\S/.test(node.data) && node.data);
  /**
   * Ids, names and addresses inside, by which an element is known that has no key.
   * @param {any} node
   */
  const traitsOf = (node) =>
    node.outerHTML?.match(/ (id|name|for|href|src|action|hx-\w+|data-[\w-]+)="[^"]+"/g)?.join();
  /**
   * @param {any} a
   * @param {any} b
   */
  const isLike = (a, b) =>
    a.nodeName === b.nodeName &&
    keyOf(a) === keyOf(b) &&
    get(a, "type") === get(b, "type") &&
    (a.localName !== "script" || isEqual(a, b));

  /**
   * Find the sent nodes that next ones are.
   * @param {any[]} olds
   * @param {any[]} news
   * @returns {[Map<any, any>, number, number]} next -> sent, and what lies between equal beginnings and ends
   */
  const match = (olds, news) => {
    const pairs = new Map();
    let from = 0;
    let oldEnd = olds.length;
    let newEnd = news.length;
    while (from < oldEnd && from < newEnd && isEqual(olds[from], news[from]))
      pairs.set(news[from], olds[from++]);
    while (oldEnd > from && newEnd > from && isEqual(olds[oldEnd - 1], news[newEnd - 1]))
      pairs.set(news[--newEnd], olds[--oldEnd]);
    const free = new Set(olds.slice(from, oldEnd));
    const rest = news.slice(from, newEnd);
    const pair = (/** @type {any} */ node, /** @type {any} */ old) =>
      free.delete(old) && pairs.set(node, old);
    // Where there is one of a kind, nothing has to be read.
    const [oldOnes, newOnes] = [free, rest].map((nodes) => {
      const ones = new Map();
      for (const node of nodes) ones.set(node.nodeName, ones.has(node.nodeName) ? null : node);
      return ones;
    });
    newOnes.forEach((node, kind) => {
      const old = node && oldOnes.get(kind);
      if (old && isLike(old, node)) pair(node, old);
    });
    for (const nameOf of [keyOf, textOf, traitsOf]) {
      const known = new Map();
      for (const old of free) {
        const name = (nameOf === keyOf || !keyOf(old)) && nameOf(instead.get(old) || old);
        if (name) known.has(name) ? known.get(name).push(old) : known.set(name, [old]);
      }
      if (!known.size) continue;
      for (const node of rest) {
        if (pairs.has(node)) continue;
        const isFree = (/** @type {any} */ each) => free.has(each) && isLike(each, node);
        pair(node, known.get(nameOf(node))?.find(isFree));
      }
    }
    // What is left is what comes after the same thing.
    let before = news[from - 1];
    for (const node of rest) {
      if (!pairs.has(node)) {
        let old = before ? pairs.get(before).nextSibling : olds[0];
        while (old && free.has(old) && !isLike(old, node)) old = old.nextSibling;
        pair(node, old);
      }
      if (pairs.has(node)) before = node;
    }
    return [pairs, from, newEnd];
  };

  /**
   * Return a longest series of rising numbers: what is in it may stay where it is.
   * @param {number[]} numbers
   */
  const rising = (numbers) => {
    /** @type {number[]} */
    const ends = [];
    const previous = numbers.map((number, i) => {
      let low = 0;
      let high = ends.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (numbers[ends[middle]] < number) low = middle + 1;
        else high = middle;
      }
      ends[low] = i;
      return ends[low - 1];
    });
    const found = new Set();
    for (let i = /** @type {number} */ (ends.at(-1)); i !== undefined; i = previous[i]) found.add(numbers[i]);
    return found;
  };

  // -- changing the page ---------------------------------------------------------------------------

  /** @param {any} sent */
  const find = (sent) => {
    const live = liveOf.get(sent);
    return live?.isConnected && live;
  };

  /**
   * The child of a parent that a node is, or is wrapped in.
   * @param {any} parent
   * @param {any} node
   */
  const inside = (parent, node) => {
    while (node && node.parentNode !== parent) node = node.parentNode;
    return node || null;
  };

  /**
   * @param {any} parent
   * @param {any} node
   * @param {any} before
   */
  const put = (parent, node, before) => {
    if (node.parentNode === parent && node.nextSibling === before) return;
    if (parent.moveBefore && node.isConnected) return parent.moveBefore(node, before);
    const { activeElement } = parent.getRootNode();
    // What the server does is no reason to take the focus.
    const focusing = node.matches
      ? [...node.querySelectorAll("[autofocus]"), node].filter((each) => each.autofocus)
      : [];
    for (const each of focusing) each.autofocus = false;
    parent.insertBefore(node, before);
    for (const each of focusing) each.autofocus = true;
    if (node !== activeElement && node.contains(activeElement))
      /** @type {any} */ (activeElement).focus({ preventScroll: true });
  };

  /**
   * Make a live node, whose scripts run.
   * @param {any} sent
   */
  const make = (sent) => {
    let live = document.importNode(sent, true);
    tieAll(sent, live);
    if (live.nodeType !== 1) return live;
    hooks.fill(sent);
    for (const dead of live.localName === "script" ? [live] : live.querySelectorAll("script")) {
      const script = revive(dead);
      if (dead === live) live = script;
      else dead.replaceWith(script);
    }
    made.set(live, true);
    return live;
  };

  /**
   * Whether a field says something else than the server, or has.
   * @param {any} live
   */
  const isTouched = (live) => {
    if (!selects) {
      selects = new Map();
      for (const field of hooks.find(root, FIELDS)) {
        const sent = sentOf.get(field);
        if (!sent || STATE.every((name) => field[name] === sent[name])) continue;
        touched.add(field.closest("select") || field);
        // A radio button stands for its group.
        if (field.type === "radio")
          for (const each of field.getRootNode().querySelectorAll("[type=radio]"))
            if (each.name === field.name && each.form === field.form) touched.add(each);
      }
      for (const select of [root, ...root.querySelectorAll("select")])
        if (select.localName === "select")
          selects.set(select, touched.has(select) && [...select.selectedOptions].map(({ value }) => value));
    }
    return touched.has(live.closest("select") || live);
  };
  /**
   * Change those attributes of an element that the server has changed.
   * @param {any} sent
   * @param {any} next
   * @param {any} live
   */
  const mergeAttributes = (sent, next, live) => {
    for (const name of new Set([...sent.getAttributeNames(), ...next.getAttributeNames()])) {
      const before = get(sent, name);
      const after = get(next, name);
      if (before === after) continue;
      if (/^(data-)?hx-/.test(name)) made.set(live, false);
      if (name === "class") {
        for (const each of [...sent.classList, ...next.classList]) {
          const isThere = next.classList.contains(each);
          if (isThere !== sent.classList.contains(each)) live.classList.toggle(each, isThere);
        }
        if (after === null && !live.classList.length) live.removeAttribute(name);
      } else if (name === "style" && get(live, name) !== before) {
        for (const each of new Set([...sent.style, ...next.style])) {
          const value = next.style.getPropertyValue(each);
          if (value !== sent.style.getPropertyValue(each))
            live.style.setProperty(each, value, next.style.getPropertyPriority(each)); // "" removes it
        }
      } else {
        const isState = STATE.includes(name) && name in next && !/^(hidden|file)$/.test(live.type);
        const isKept = isState && isTouched(live);
        if (!isKept || name !== "open") {
          // biome-ignore lint/correctness/noSelfAssign: from now on a default does not change it
          if (isKept) live[name] = live[name];
          setAttribute(live, name, next);
          if (isState && !isKept && live[name] !== next[name]) live[name] = next[name];
        }
      }
      setAttribute(sent, name, next);
    }
    if ("checked" in sent) sent.checked = next.defaultChecked; // a radio button's attribute does too little
    if (live.localName === "textarea" && sent.defaultValue !== next.defaultValue) {
      const isKept = isTouched(live);
      // biome-ignore lint/correctness/noSelfAssign: the same
      if (isKept) live.value = live.value;
      sent.defaultValue = live.defaultValue = next.defaultValue;
      if (!isKept) live.value = next.value;
    }
  };

  /**
   * @param {any} sent
   * @param {any} next
   * @param {any} live
   */
  const merge = (sent, next, live) => {
    if (live.matches(KEEP)) return;
    try {
      if (QuartSSE.beforeMorph?.(live, next) === false) return;
    } catch (error) {
      reportError(error);
    }
    const what = hooks.judge(live, next, sent);
    if (what > 1) mergeAttributes(sent, next, live);
    if (what) mergeContent(sent, next, live);
  };

  /**
   * @param {any} sent
   * @param {any} next
   * @param {any} live
   */
  const mergeContent = (sent, next, live) => {
    if (live.localName === "template") {
      if (sent.innerHTML !== next.innerHTML)
        for (const each of [sent, live]) each.content.replaceChildren(next.content.cloneNode(true));
    } else if (
      live.localName !== "textarea" &&
      !live.matches(FILLED) &&
      !(live.isContentEditable && live.innerHTML !== sent.innerHTML) // what the user has written
    )
      mergeChildren(sent, next, live);
    hooks.descend(sent, next, live);
  };

  /**
   * Find an element that comes from elsewhere in the fragment, and move its live one here.
   * @param {any} node
   * @param {any} parent
   * @param {any} before
   */
  const claim = (node, parent, before) => {
    const old = keyed.get(keyOf(node));
    const live = find(old);
    if (!live || sentOf.get(live) !== old || !isLike(old, node) || live.contains(parent)) return;
    keyed.delete(keyOf(node));
    gone.delete(old);
    old.remove(); // from where it was
    put(parent, live, before);
    return old;
  };

  /**
   * Let elements inside of a new one be those that were elsewhere.
   * @param {any} live
   */
  const adopt = (live) => {
    for (const each of live.querySelectorAll?.(KEYED) || []) {
      const node = sentOf.get(each);
      const old = each.isConnected && claim(node, each.parentNode, each);
      if (!old) continue;
      each.remove();
      node.replaceWith(old);
      merge(old, node, find(old));
    }
  };

  /**
   * @param {any} sent
   * @param {any} next
   * @param {any} parent
   */
  const mergeChildren = (sent, next, parent) => {
    const olds = [...sent.childNodes];
    const news = [...next.childNodes];
    const [pairs, from, end] = match(olds, news);
    const kept = new Set(pairs.values());
    const index = new Map(olds.map((old, i) => [old, i]));
    const numbers = /** @type {number[]} */ (news.flatMap((node) => index.get(pairs.get(node)) ?? []));
    const isMoved = numbers.some((number, i) => number < numbers[i - 1]);
    const staying = isMoved && rising(numbers);
    if (/^(select|optgroup)$/.test(parent.localName)) isTouched(parent);
    let isOther = isMoved || kept.size < olds.length || pairs.size < news.length;
    if (isOther)
      keyed ||= new Map([...sentOf.get(root).querySelectorAll(KEYED)].map((each) => [keyOf(each), each]));
    for (const old of olds) if (!kept.has(old)) gone.add(old);
    // From the end: each new node goes before the next one of the server, so what scripts have put behind
    // a node stays behind it.
    let before = null;
    for (let i = end; i < news.length && !before; i++) before = inside(parent, find(pairs.get(news[i])));
    for (let i = end - 1; i >= from; i--) {
      const node = news[i];
      const old = pairs.get(node) || claim(node, parent, before);
      let live = find(old);
      /** @type {any} */
      let isPut = staying && !staying.has(index.get(old));
      if (old) pairs.set(node, old);
      if (!old || !isEqual(old, node)) {
        if (sentOf.get(live) !== old || !old) {
          // It is new; or a script has removed or replaced it, and the server has changed it.
          const other = make(node);
          const place = inside(parent, live);
          put(parent, other, place || before);
          adopt(other);
          if (live) hooks.remove(live);
          pairs.delete(node);
          live = other;
          isPut = false;
          isOther = true;
        } else if (live.nodeType === 1) merge(old, node, live);
        else live.data = old.data = node.data;
      }
      const place = inside(parent, live);
      if (place && isPut) put(parent, place, before);
      before = place || before;
    }
    if (isOther) sent.replaceChildren(...news.map((node) => pairs.get(node) || node));
  };

  /**
   * Change a fragment, and let scripts and htmx know.
   * @param {any} live the fragment's element
   * @param {(gone: Set<any>) => void} change takes the set of the sent nodes that go
   */
  const run = (live, change) => {
    hooks.flush();
    [root, made, keyed, gone, selects] = [live, new Map(), null, new Set(), null];
    change(gone);
    for (const live of [...gone].map(find)) if (live) hooks.remove(live);
    /** @type {any} */ (selects)?.forEach((/** @type {any} */ values, /** @type {any} */ select) => {
      for (const option of select.options) {
        const isChosen = values ? values.includes(option.value) : sentOf.get(option)?.selected;
        if (isChosen !== undefined && isChosen !== option.selected) option.selected = isChosen;
      }
    });
    observer.takeRecords();
    hooks.process(made);
    live.dispatchEvent(new CustomEvent("sse:update", { bubbles: true, composed: true }));
  };

  /**
   * @param {any} live
   * @param {string} html
   */
  const update = (live, html) => {
    const next = parse(live, html);
    hasTemplates = /<template/i.test(html);
    const sent = sentOf.get(live);
    run(live, () => {
      try {
        mergeContent(sent, next, live);
      } catch (error) {
        // Nothing says how far it has come, so all is made new.
        reportError(error);
        sent.replaceChildren(...next.cloneNode(true).childNodes);
        live.replaceChildren(...[...sent.childNodes].map(make));
      }
    });
  };

  /** What quart-sse-htmx.js and quart-sse-shadow.js need and change. */
  const hooks = {
    hasShadows: false, // in what is to be put in now, so nothing says that two nodes are equal
    instead,
    see,
    flush: () => hooks.see(observer.takeRecords()), // what has happened up to now
    /** @type {(live: any, next: any) => void} */
    release: (live, next) =>
      run(live.closest("[data-sse]") || live, () => mergeAttributes(sentOf.get(live), next, live)),
    /** @type {(live: any, next: any, sent: any) => number} 0: leave it as it is; 1: but for what is inside */
    judge: () => 2,
    /** @type {(live: any) => void} */
    remove: (live) => live.remove(),
    /** @type {(made: Map<any, boolean>) => void} */
    process: () => {},
    // What knows of shadow trees:
    /** @type {(root: any, selector: string) => any[]} */
    find: (root, selector) => [...root.querySelectorAll(selector)],
    /** @type {(next: any, html: any) => void} */
    write: (next, html) => {
      next.innerHTML = html;
    },
    /** @type {(sent: any, next: any, live: any) => void} what is in the shadow root of an element */
    descend: () => {},
    /** @type {(sent: any) => void} give new live elements their shadow roots */
    fill: () => {},
    /** @param {Node} root */
    watch: (root) => observer.observe(root, { childList: true, subtree: true }),
    mergeChildren,
    /** @type {(live: any, html: any) => void} an item of a list comes with its key and place */
    put: (live, html) =>
      Array.isArray(html)
        ? QuartSSE.item?.(live, ...html, run, find, inside, isEqual, isLike, make, merge, put)
        : update(live, html),
  };

  const start = () => {
    QuartSSE.htmx?.(hooks);
    hooks.watch(document);
    begin(hooks);
  };
  if (document.readyState === "loading") document.addEventListener("readystatechange", start, { once: true });
  else start();
})();
