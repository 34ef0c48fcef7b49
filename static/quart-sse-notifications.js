/*
 * quart-sse-notifications.js: show notifications, for pages with sse_notifications().
 *
 * The macro writes a region, <sse-notifications>, with what is kept for the user and a template for
 * each level. A notification that this browser has shown to the user is remembered for as long as the
 * server keeps it, so that neither another page nor another tab repeats it.
 */

/**
 * @typedef {object} Note
 * @property {string} id
 * @property {string} time
 * @property {string} message
 * @property {string} level
 * @property {?string} title
 * @property {any} data
 */
/**
 * A notification that is on the screen.
 * @typedef {object} Toast
 * @property {HTMLElement} element
 * @property {string} user for whom it is
 * @property {string} role of the list that it stands in
 * @property {number} left ms until it goes by itself
 * @property {number} age ms for which it was on the screen
 * @property {() => void} end
 */

QuartSSE.provide(
  "notifications",
  (
    /** @type {unknown} */ _put,
    /** @type {unknown} */ _outside,
    /** @type {unknown} */ _received,
    /** @type {(ms: number) => Promise<void>} */ sleep
  ) => {
    const NAME = "sse-notifications";
    const PREFIX = "quart-sse-notification "; // of keys in localStorage; then the user and the id
    const TICK = 100; // ms
    const SEEN = 1000; // ms on the screen, after which it counts as shown to the user
    const SETTLE = 300; // ms in which tabs learn what another one has stored

    /** @type {?HTMLElement} */
    let region = null; // of the page part that is in the document
    /** @type {Map<string, Toast>} */
    const toasts = new Map(); // key -> toast
    const taken = new Set(); // keys that this tab has shown, or is about to show
    /** @type {ReturnType<typeof setInterval> | undefined} */
    let timer;
    let keep = 0; // ms for which the server keeps a notification
    /** @type {any} */
    let before; // the element that had the focus before a toast took it

    /** @param {string} key */
    const read = (key) => {
      try {
        return localStorage.getItem(key) || "";
      } catch {
        return ""; // it may be forbidden; then each page begins without it
      }
    };
    /**
     * @param {string} key
     * @param {string} [more]
     */
    const remember = (key, more = "") => {
      try {
        localStorage.setItem(key, Date.now() + keep + more);
      } catch {}
    };
    /** @param {string} key */
    const isKnown = (key) => Number.parseInt(read(key), 10) > Date.now();

    const prune = () => {
      try {
        Object.keys(localStorage).forEach((key) => {
          if (key.startsWith(PREFIX) && !isKnown(key)) localStorage.removeItem(key);
        });
      } catch {}
    };

    /** Wait until the user looks at this tab. */
    const visible = () =>
      new Promise((resolve) => {
        const look = () => {
          if (document.hidden) return;
          document.removeEventListener("visibilitychange", look);
          resolve(0);
        };
        document.addEventListener("visibilitychange", look);
        look();
      });

    /**
     * Do something in one tab alone, and if that tab is closed meanwhile, in the next one.
     * @param {string} key
     * @param {() => Promise<unknown>} work
     */
    const claim = async (key, work) => {
      if (navigator.locks) return navigator.locks.request(key, work);
      // Pages of plain http have no locks: the last one that writes its name has won.
      const claimed = `${key} claim`;
      const name = ` ${Math.random()}`;
      if (isKnown(claimed)) return;
      remember(claimed, name);
      await sleep(SETTLE);
      if (!read(claimed) || read(claimed).endsWith(name)) return work();
    };

    /** @param {Toast} toast */
    const place = ({ element, role, user }) => {
      if (!region || element.isConnected) return;
      if (region.dataset.for === user) region.querySelector(`[role=${role}]`)?.append(element);
    };

    const tick = () => {
      if (!toasts.size) {
        clearInterval(timer);
        timer = undefined;
      }
      if (document.hidden) return;
      const isHeld = region?.matches(":hover, :focus-within");
      toasts.forEach((toast, key) => {
        place(toast); // a morph of the page takes it out
        if (!toast.element.isConnected) return;
        toast.age += TICK;
        if (toast.age === SEEN) remember(key);
        if (!isHeld) toast.left -= TICK;
        if (toast.left <= 0) close(key);
      });
    };

    /**
     * @param {string} key
     * @param {string} [how]
     */
    const close = (key, how) => {
      const toast = toasts.get(key);
      if (!toast) return;
      remember(key, how);
      toasts.delete(key);
      const { element } = toast;
      if (element.querySelector(":focus-visible")) {
        const next = [...toasts.values()].pop()?.element.querySelector("[data-dismiss]") || before;
        next?.focus();
      }
      const isStill = document.hidden || matchMedia("(prefers-reduced-motion: reduce)").matches;
      element.inert = true;
      element.dataset.state = "closing";
      // What the stylesheet says of this state is waited for.
      const ends = isStill ? [] : element.getAnimations().map((each) => each.finished);
      Promise.allSettled(ends).then(() => element.remove());
      toast.end();
    };
    /** @param {string} key */
    const dismiss = (key) => close(key, " dismissed");

    /**
     * Put the texts of a notification into the elements that ask for them.
     * @param {HTMLElement} element
     * @param {Note} notification
     */
    const fill = (element, notification) => {
      /** @param {string} path */
      const get = (path) =>
        path.split(".").reduce((/** @type {any} */ value, name) => value?.[name], notification) ?? "";
      element.querySelectorAll("[data-slot]").forEach((/** @type {any} */ slot) => {
        const value = get(slot.dataset.slot);
        slot.textContent = value;
        slot.hidden = value === "";
        if (slot.localName !== "time") return;
        slot.dateTime = value;
        slot.textContent = new Date(value).toLocaleTimeString([], { timeStyle: "short" });
      });
      element.querySelectorAll("[data-slot-href]").forEach((/** @type {any} */ slot) => {
        slot.href = get(slot.dataset.slotHref);
        // A URL of another kind may be a script.
        slot.hidden = !slot.getAttribute("href") || !/^https?:$/.test(slot.protocol);
        if (slot.hidden) slot.removeAttribute("href");
      });
    };

    /**
     * Show a notification, and return when it has gone.
     * @param {string} key
     * @param {Note} notification
     */
    const show = (key, notification) => {
      if (!region || isKnown(key)) {
        if (!region) taken.delete(key);
        return Promise.resolve();
      }
      const { seconds, for: user = "" } = region.dataset;
      /** @type {any} */
      const template =
        region.querySelector(`template[data-level="${CSS.escape(notification.level)}"]`) ||
        region.querySelector("template");
      /** @type {HTMLElement} */
      const element = document.importNode(template.content.firstElementChild, true); // for its links
      fill(element, notification);
      const detail = { notification, element };
      const event = new CustomEvent("sse:notification", { bubbles: true, cancelable: true, detail });
      if (!region.dispatchEvent(event)) {
        remember(key);
        return Promise.resolve();
      }
      return new Promise((/** @type {(value?: unknown) => void} */ end) => {
        const role = /^[we]/.test(notification.level) ? "alert" : "status";
        const left = 1000 * Number(seconds) || Infinity;
        const toast = { element, user, role, left, age: 0, end };
        toasts.set(key, toast);
        place(toast);
        timer ??= setInterval(tick, TICK);
      });
    };

    /**
     * Show a notification, unless this tab, or another one, has shown it.
     * @param {Note} notification
     */
    const offer = async (notification) => {
      if (!region) return;
      const key = `${PREFIX}${region.dataset.for} ${notification.id}`;
      if (taken.has(key) || isKnown(key)) return;
      taken.add(key);
      if (region.dataset.tabs === "all") return show(key, notification);
      await visible();
      return claim(key, async () => {
        await show(key, notification);
        await sleep(SETTLE);
      });
    };

    /** Take what the server has put into the region; a toast of an old page has no place there. */
    const take = () => {
      const own = new Set([...toasts.values()].map((toast) => toast.element));
      region?.querySelectorAll(".sse-notification").forEach((/** @type {any} */ element) => {
        if (own.has(element) || element.dataset.state) return;
        element.remove();
        if (element.dataset.notification) offer(JSON.parse(element.dataset.notification));
      });
    };

    class Region extends HTMLElement {
      connectedCallback() {
        region = this;
        keep = 1000 * Number(this.dataset.keep);
        // A part of a page that htmx brings would be without it for a moment.
        const link = /** @type {?Element} */ (this.previousElementSibling);
        if (
          link?.matches("link") &&
          !document.head.querySelector(`link[href="${link.getAttribute("href")}"]`)
        )
          document.head.append(link.cloneNode());
        new MutationObserver(take).observe(this, { childList: true, subtree: true });
        this.addEventListener("click", ({ target }) => {
          const button = /** @type {Element} */ (target).closest("[data-dismiss]");
          toasts.forEach((toast, key) => button && toast.element.contains(button) && dismiss(key));
        });
        this.addEventListener("focusin", ({ relatedTarget }) => {
          if (!this.contains(/** @type {?Node} */ (relatedTarget))) before = relatedTarget;
        });
        toasts.forEach(place); // those of the page before go on
        take();
      }
      disconnectedCallback() {
        if (region === this) region = null;
      }
    }

    // A page that comes from htmx's history may run this file again.
    if (!customElements.get(NAME)) {
      prune();
      customElements.define(NAME, Region);
      addEventListener("sse:message", (/** @type {any} */ { detail: { event, data } }) => {
        if (/\.sse-notification(\?|$)/.test(event)) offer(data);
      });
      addEventListener("keydown", (event) => {
        if (event.key !== "Escape" || event.defaultPrevented || document.querySelector(":modal")) return;
        const keys = [...toasts.keys()];
        const key = keys.find((each) => toasts.get(each)?.element.matches(":focus-within")) || keys.pop();
        if (key) dismiss(key);
      });
      // Another tab of this browser has dismissed it.
      addEventListener("storage", ({ key, newValue }) => {
        if (key && newValue?.endsWith("dismissed")) close(key, " dismissed");
      });
    }
    return offer;
  }
);
