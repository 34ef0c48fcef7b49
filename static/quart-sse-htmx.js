/*
 * quart-sse-htmx.js: what htmx needs beside quart-sse-morph.js, for htmx 2 and htmx 4.
 *
 * It names the page in htmx's requests, takes answers of htmx inside a fragment for what the server has
 * sent, and leaves alone what htmx has done to elements while their request goes on.
 */
/** @param {any} morph what quart-sse-morph.js, which comes next, hands over */
QuartSSE.htmx = (morph) => {
  const WAIT = 50; // ms
  const SETTLING = ["class", "style", "width", "height"]; // attributes that come some ms after the element
  const PASSING = ["htmx-added", "htmx-settling", "htmx-swapping", "htmx-request"]; // classes of htmx's own
  const { liveOf, sentOf, copy, setAttribute } = QuartSSE.sent;
  const { see } = morph;
  // An htmx of the page's own may come later. Users may have named an element so.
  if (!window.htmx?.swap?.call) return void setTimeout(QuartSSE.htmx, WAIT, morph);
  const isOld = !!htmx.defineExtension;
  /**
   * @param {string} type
   * @param {(detail: any) => void} listen
   */
  const on = (type, listen) =>
    addEventListener(`htmx:${type}`, (/** @type {any} */ { detail }) => listen(detail));

  // -- the page's name -----------------------------------------------------------------------------

  // It lets the server leave this page out. It holds a secret, so no other origin gets it.
  for (const type of ["configRequest", "config:request"])
    on(type, (detail) => {
      const { headers, path, action } = detail.ctx?.request || detail;
      const link = document.createElement("a");
      link.href = path || action;
      if (QuartSSE.page && link.origin === origin) headers["X-SSE-Page"] = QuartSSE.page;
    });

  // -- answers ---------------------------------------------------------------------------------------

  /** @type {any[]} */
  const settling = []; // sent nodes whose attributes are not yet what they will be

  /**
   * Take what htmx has changed in a fragment for what the server has sent.
   * @param {MutationRecord[]} records
   */
  const take = (records) => {
    const isGone = (/** @type {Node} */ live) => !live.isConnected && sentOf.get(live)?.parentNode;
    const gone = records.flatMap(({ removedNodes }) => [...removedNodes]).filter(isGone);
    for (const live of /** @type {Set<any>} */ (
      new Set(records.flatMap(({ addedNodes }) => [...addedNodes]))
    )) {
      const parent = live.isConnected && !sentOf.has(live) && sentOf.get(live.parentNode);
      if (!parent) continue;
      let next = live.nextSibling;
      while (next && sentOf.get(next)?.parentNode !== parent) next = next.nextSibling;
      const sent = parent.insertBefore(copy(live), next && sentOf.get(next));
      settling.push(sent);
      const old = gone.find(({ nodeName }) => nodeName === live.nodeName);
      if (old) morph.instead.set(sent, morph.instead.get(sentOf.get(old)) || sentOf.get(old));
    }
    for (const live of gone) sentOf.get(live).remove();
    see(records);
  };

  /** @param {any} sent */
  const settle = (sent) => {
    const live = liveOf.get(sent);
    if (live.id) for (const name of SETTLING) setAttribute(sent, name, live);
    if (sent.classList) {
      sent.classList.remove(...PASSING);
      if (!sent.classList.length) sent.removeAttribute("class");
      for (const child of sent.children) settle(child);
    }
  };

  const takeAnswer = () => {
    morph.see = take;
    morph.flush();
    morph.see = see;
  };
  for (const type of ["beforeSwap", "oobBeforeSwap", "partialBeforeSwap", "before:swap"])
    on(type, morph.flush);
  for (const type of ["afterSwap", "oobAfterSwap", "partialAfterSwap", "before:settle"]) on(type, takeAnswer);
  for (const type of ["afterSettle", "after:settle"]) on(type, () => settling.splice(0).forEach(settle));

  // -- requests that go on ---------------------------------------------------------------------------

  /** @type {Map<any, any[]>} */
  const requests = new Map(); // request -> its element, that one's form, and what htmx has disabled
  /** @type {Map<any, any>} */
  const held = new Map(); // live element -> what the server says of it, for later

  const isHeld = (/** @type {any} */ live) =>
    live.matches(".htmx-request,[data-disabled-by-htmx]") ||
    [...requests.values()].some((each) => each.includes(live) || (live.form && each.includes(live.form)));

  const begin = (/** @type {any} */ { xhr, ctx, elt }) => {
    const element = elt || ctx.sourceElement;
    requests.set(xhr || ctx, [
      element,
      element.closest("form") || element.form,
      ...(ctx?.disabledElements || []),
    ]);
    xhr?.addEventListener("loadend", () => end({ xhr }));
  };
  const end = async (/** @type {any} */ { xhr, ctx }) => {
    requests.delete(xhr || ctx);
    await 0; // until htmx has enabled again what it has disabled
    held.forEach((next, live) => {
      if (live.isConnected && isHeld(live)) return;
      held.delete(live);
      if (live.isConnected) morph.release(live, next);
    });
  };
  on("beforeSend", begin); // of htmx 2

  /**
   * @param {any} live
   * @param {any} next
   * @param {any} sent
   */
  morph.judge = (live, next, sent) => {
    const earlier = morph.instead.get(sent);
    // The user is writing in what htmx has put in place of it.
    if (earlier?.isEqualNode(next) && live.querySelector("input:not([type=hidden]),textarea,select"))
      return 0;
    if (!isHeld(live)) return 2;
    held.set(live, next);
    return 1;
  };

  // -- elements that come and go -----------------------------------------------------------------------

  morph.process = (/** @type {Map<any, boolean>} */ made) =>
    made.forEach((isNew, live) => {
      htmx.process(live, !isNew);
      if (isOld && isNew) htmx.trigger(live, "htmx:load", { elt: live });
    });
  if (!isOld)
    htmx.registerExtension("quart-sse", {
      htmx_before_request: (/** @type {any} */ _element, /** @type {any} */ detail) => void begin(detail),
      // No event of an element that has gone would come here.
      htmx_finally_request: (/** @type {any} */ _element, /** @type {any} */ detail) => void end(detail),
      init: (/** @type {any} */ { insertContent }) => {
        const fragment = document.createDocumentFragment();
        // It ends what the element listens to elsewhere; htmx 2 finds out by itself.
        morph.remove = (/** @type {any} */ target) =>
          target.matches
            ? insertContent({ target, fragment, swapSpec: { style: "delete" } })
            : target.remove();
      },
    });
};
