/*
 * quart-sse-htmx.js: what htmx needs to know beside quart-sse.js, for htmx 2 and htmx 4.
 *
 * Fragments are morphed: elements that are still there stay the same. htmx 4 does that by itself,
 * for htmx 2 idiomorph does, under the same name (innerMorph). Neither knows what somebody has
 * typed, ticked, chosen or opened meanwhile, which is to survive: that is added here, for both.
 */
(() => {
  // Who sent a request, so that the server can leave this page out; a secret of its own origin's.
  for (const name of ["htmx:configRequest", "htmx:config:request"]) {
    addEventListener(name, ({ detail }) => {
      const { headers, path, action } = detail.ctx?.request || detail;
      const link = document.createElement("a");
      link.href = path || action;
      if (QuartSSE.page && link.origin === origin) headers["X-SSE-Page"] = QuartSSE.page;
    });
  }

  // What somebody has changed stays, until the form is reset to what the server has said last.
  const typed = new WeakSet();
  const isTyped = (field) => typed.has(field.closest("select") || field);
  const onUser = (type, listen) => addEventListener(type, ({ target }) => listen(target), true);

  onUser("input", (field) => {
    if (field.type !== "radio") return typed.add(field);
    for (const each of document.getElementsByName(field.name)) if (each.form === field.form) typed.add(each);
  });
  onUser("click", (target) => {
    const summary = target.closest?.("summary");
    if (summary) typed.add(summary.parentNode);
  });
  onUser("reset", (form) => [...form.elements].forEach((field) => typed.delete(field)));

  /** Before an element takes over what the next one has: let it keep what somebody has changed. */
  const keep = (old, next) => {
    if (old.nodeType !== 1) return;
    if (old.matches("dialog")) next.open = old.open;
    if (!isTyped(old)) {
      if (old.checked !== next.checked) old.checked = next.checked; // attributes do too little
    } else if (old.isContentEditable) next.innerHTML = old.innerHTML;
    else if (old.matches("details")) next.open = old.open;
    else if (old.matches("select")) {
      const chosen = [...old.selectedOptions].map((option) => option.value);
      if (old.innerHTML !== next.innerHTML) old.innerHTML = next.innerHTML;
      [...old.options].forEach((option) => (option.selected = chosen.includes(option.value)));
    } else if (!old.matches("option")) {
      old.checked = old.checked; // from now on a default does not change it
      old.defaultChecked = next.defaultChecked;
      old.defaultValue = next.defaultValue;
    }
  };

  if (!htmx.defineExtension) {
    htmx.registerExtension("quart-sse", {
      htmx_before_morph_node: (old, { newNode }) => void (old.closest?.("[data-sse]") && keep(old, newNode)),
    });
    return;
  }
  htmx.defineExtension("quart-sse", {
    handleSwap: (style, target, { childNodes }) => {
      if (style !== "innerMorph") return;
      const callbacks = {
        beforeNodeMorphed: keep,
        beforeAttributeUpdated: (name, element) => !/^(value|checked|selected)$/.test(name) || !isTyped(element),
      };
      const nodes = Idiomorph.morph(target, childNodes, { morphStyle: "innerHTML", callbacks });
      htmx.process(target); // at once, not when it settles: somebody may be quick
      return nodes;
    },
  });
  const root = document.documentElement;
  root.setAttribute("hx-ext", `quart-sse,${root.getAttribute("hx-ext") || ""}`);
})();
