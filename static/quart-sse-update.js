/*
 * quart-sse-update.js: reload a page when the app says so; see sse.everyone.reload().
 *
 * A page in which the user has typed something offers it instead: it shows its own element with
 * data-sse-reload, or else a button at its end. "sse:reload" can be prevented.
 */
QuartSSE.provide(
  "update",
  (
    /** @type {unknown} */ _put,
    /** @type {unknown} */ _outside,
    /** @type {unknown} */ _received,
    /** @type {(ms: number) => Promise<void>} */ sleep
  ) => {
    const SPREAD = 3000; // ms in which all pages of an app reload
    const KEY = "quart-sse-reload"; // of the last event that has reloaded this tab
    const EDITABLE = "[contenteditable]:not([contenteditable=false])";

    const isTyped = () =>
      document.querySelector(EDITABLE) ||
      [.../** @type {Iterable<any>} */ (document.querySelectorAll("input,textarea,select"))].some((field) =>
        field.options
          ? [...field.options].some((option) => option.selected !== option.defaultSelected) &&
            field.selectedIndex > 0
          : field.value !== field.defaultValue || field.checked !== field.defaultChecked
      );

    const offer = () => {
      /** @type {?HTMLElement} */
      let element = document.querySelector("[data-sse-reload]");
      if (!element) {
        element = document.createElement("p");
        element.dataset.sseReload = "";
        element.setAttribute("role", "status");
        element.style.cssText =
          "position:sticky;bottom:0;margin:0;padding:.5em;background:Canvas;color:CanvasText";
        element.append("There is a new version of this page. ", document.createElement("button"));
        /** @type {any} */ (element.lastChild).append("Reload");
        document.body.append(element);
      }
      element.hidden = false;
      (element.querySelector("button,a") || element).addEventListener("click", () => location.reload());
    };

    /**
     * Reload the page, or offer it; a page that a cache keeps must not do so again and again.
     * @param {string} id of the event that asks for it
     */
    return async (id) => {
      if (sessionStorage.getItem(KEY) === id) return;
      sessionStorage.setItem(KEY, id);
      if (!document.dispatchEvent(new CustomEvent("sse:reload", { cancelable: true }))) return;
      await sleep(SPREAD * Math.random());
      if (isTyped()) offer();
      else location.reload();
    };
  }
);
