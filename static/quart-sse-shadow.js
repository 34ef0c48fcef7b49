/*
 * quart-sse-shadow.js: fragments in shadow trees, and shadow trees in fragments; quart-sse.js loads it when
 * a page has one.
 *
 * Declared shadow roots are compared and changed as all else. Those of scripts have nothing to compare with.
 */
QuartSSE.provide("shadow", (/** @type {unknown} */ _put, /** @type {string} */ outside) => {
  const MARK = outside.slice(5, -3); // selector of the marks themselves
  const { sentOf, liveOf, tie, tieAll, copy } = QuartSSE.sent;

  /**
   * Return a root and the shadow roots inside of it, but for those in a mark.
   * @param {any} root
   * @returns {any[]}
   */
  const rootsOf = (root) => {
    const roots = [root];
    for (const { shadowRoot } of root.querySelectorAll("*"))
      if (shadowRoot && !shadowRoot.host.closest(MARK)) roots.push(...rootsOf(shadowRoot));
    return roots;
  };

  /** @param {any} host */
  const shadowOf = (host) => host.shadowRoot || host.attachShadow({ mode: "open" });

  /**
   * Give the live elements of new ones the shadow roots that these have.
   * @param {any} sent
   */
  const fill = (sent) => {
    for (const host of [sent, ...sent.querySelectorAll("*")]) {
      if (!host.shadowRoot) continue;
      const root = shadowOf(liveOf.get(host));
      root.replaceChildren(...[...host.shadowRoot.childNodes].map((node) => document.importNode(node, true)));
      tieAll(host.shadowRoot, root);
      [...host.shadowRoot.children].forEach(fill);
    }
  };

  /**
   * Copy a shadow root as the parser has made it.
   * @param {any} sent
   * @param {any} root
   */
  const copyRoot = (sent, root) => {
    const copied = shadowOf(sent);
    tie(copied, root);
    copied.replaceChildren(...[...root.childNodes].map(copy));
  };

  /** @param {any} morph what quart-sse-morph.js hands over */
  const begin = (morph) => {
    morph.shadows = true;
    for (const { host } of rootsOf(document))
      if (sentOf.has(host)) copyRoot(sentOf.get(host), host.shadowRoot);
    morph.fill = fill;
    morph.find = (/** @type {any} */ root, /** @type {string} */ selector) =>
      rootsOf(root).flatMap((each) => {
        if (each.host) morph.watch(each);
        const found = [...each.querySelectorAll(selector)];
        for (const live of each.host ? each.querySelectorAll("[data-sse]") : [])
          if (!sentOf.has(live)) copy(live);
        return found;
      });
    morph.write = (/** @type {any} */ next, /** @type {any} */ html) => {
      morph.hasShadows = /shadowrootmode/i.test(html);
      // Which makes shadow roots of what declares some.
      next.setHTMLUnsafe ? next.setHTMLUnsafe(html) : (next.innerHTML = html);
    };
    morph.descend = (/** @type {any} */ sent, /** @type {any} */ next, /** @type {any} */ live) => {
      if (!next.shadowRoot) return;
      const root = shadowOf(live);
      if (!sent.shadowRoot) copyRoot(sent, root);
      morph.mergeChildren(sent.shadowRoot, next.shadowRoot, root);
    };
  };

  return (/** @type {any} */ morph, /** @type {string} */ key, /** @type {string} */ html) => {
    if (!morph.shadows) begin(morph);
    if (key) morph.update(key, html);
  };
});
