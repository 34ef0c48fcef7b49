/*
 * quart-sse-htmx.js: what htmx needs to know beside quart-sse.js, for htmx 2 and htmx 4.
 *
 * Fragments are morphed: elements that are still there stay the same. htmx 4 does that by itself,
 * for htmx 2 idiomorph does, under the same name (innerMorph). Both would undo what the user has
 * typed, ticked, chosen or opened meanwhile; this script preserves it, for both.
 */
(() => {
  // Name the page in its requests, so that the server can leave it out. The name holds a secret, so
  // no other origin gets it.
  for (const name of ["htmx:configRequest", "htmx:config:request"]) {
    addEventListener(name, (/** @type {any} */ { detail }) => {
      const { headers, path, action } = detail.ctx?.request || detail;
      const link = document.createElement("a");
      link.href = path || action;
      if (QuartSSE.page && link.origin === origin) headers["X-SSE-Page"] = QuartSSE.page;
    });
  }

  // What the user has changed stays, until the form is reset to what the server has sent last.
  const dirty = new WeakSet();
  /** @param {Element} field */
  const isDirty = (field) => dirty.has(field.closest("select") || field);
  /**
   * @param {string} type
   * @param {(target: any) => void} listen
   */
  const onUser = (type, listen) => addEventListener(type, ({ target }) => listen(target), true);

  onUser("input", (field) => {
    if (field.type !== "radio") return dirty.add(field);
    for (const each of /** @type {Iterable<any>} */ (document.getElementsByName(field.name)))
      if (each.form === field.form) dirty.add(each);
  });
  onUser("click", (target) => {
    const summary = target.closest?.("summary");
    if (summary) dirty.add(summary.parentNode);
  });
  onUser("reset", (form) => [...form.elements].forEach((field) => dirty.delete(field)));

  /**
   * Preserve what the user has changed in an element, before the next one is morphed into it.
   * @param {any} old
   * @param {any} next
   */
  const preserve = (old, next) => {
    if (old.nodeType !== 1) return;
    if (old.matches("dialog")) next.open = old.open;
    if (!isDirty(old)) {
      if (old.checked !== next.checked) old.checked = next.checked; // attributes do too little
    } else if (old.isContentEditable) next.innerHTML = old.innerHTML;
    else if (old.matches("details")) next.open = old.open;
    else if (old.matches("select")) {
      const chosen = [...old.selectedOptions].map((option) => option.value);
      if (old.innerHTML !== next.innerHTML) old.innerHTML = next.innerHTML;
      [...old.options].forEach((option) => (option.selected = chosen.includes(option.value)));
    } else if (!old.matches("option")) {
      // biome-ignore lint/correctness/noSelfAssign: from now on a default does not change it
      old.checked = old.checked;
      old.defaultChecked = next.defaultChecked;
      old.defaultValue = next.defaultValue;
    }
  };

  QuartSSE.provide("swap", () =>
    htmx.defineExtension
      ? (/** @type {string} */ html) => htmx.swap(document.body, html, { swapStyle: "none" })
      : (/** @type {string} */ text) => htmx.swap({ sourceElement: document.body, swap: "none", text })
  );

  if (!htmx.defineExtension) {
    htmx.registerExtension("quart-sse", {
      htmx_before_morph_node: (/** @type {any} */ old, /** @type {any} */ { newNode }) =>
        void (old.closest?.("[data-sse]") && preserve(old, newNode)),
    });
    return;
  }
  htmx.defineExtension("quart-sse", {
    handleSwap: (
      /** @type {string} */ style,
      /** @type {Element} */ target,
      /** @type {Element} */ { childNodes }
    ) => {
      if (style !== "innerMorph") return;
      const callbacks = {
        beforeNodeMorphed: preserve,
        beforeAttributeUpdated: (/** @type {string} */ name, /** @type {Element} */ element) =>
          !/^(value|checked|selected)$/.test(name) || !isDirty(element),
      };
      const nodes = Idiomorph.morph(target, childNodes, { morphStyle: "innerHTML", callbacks });
      htmx.process(target); // at once, not when it settles: users may be quick
      return nodes;
    },
  });
  const root = document.documentElement;
  root.setAttribute("hx-ext", `quart-sse,${root.getAttribute("hx-ext") || ""}`);
})();
