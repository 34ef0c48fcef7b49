/*
 * quart-sse-stream.js: streams that pages have to themselves, for sse_stream() and QuartSSE.open().
 *
 * A source of a view feeds such a stream, and most do a job. So the page lets go of it as soon as it is
 * left, by which the job is cancelled, and says when it comes again what it was sent last, by which no
 * job begins twice. What an element knows of its stream stands in its attributes, and so in snapshots
 * of htmx's history, too.
 */
QuartSSE.provide(
  "stream",
  (
    /** @type {unknown} */ _put,
    /** @type {unknown} */ _outside,
    /** @type {unknown} */ _received,
    /** @type {(ms: number) => Promise<void>} */ sleep,
    /** @type {(url: string, signal: AbortSignal, take: (messages: any[]) => void) => Promise<void>} */ readStream,
    /** @type {(how: string, text: string) => any} */ trust,
    /** @type {unknown} */ _fail,
    /** @type {unknown} */ _need,
    /** @type {unknown} */ parsed
  ) => {
    const MAX_DELAY = 30000; // ms; the first retry delay doubles up to it, and each varies by half
    const SILENCE = 45000; // ms, three heartbeats of the server
    const STREAMS = "[sse-stream]";
    const ENDED = "quart-sse-ended"; // of the streams of this tab's history that have ended
    const MOST_ENDED = 50;
    // The script ignores what is inside of these; see quart-sse.js.
    const isHtmx4 = document.querySelector("script[data-htmx='4']");
    const outside = ["hx-ignore", "data-hx-ignore", "hx-disable", "data-hx-disable"]
      .flatMap((name, i) => (i > 1 && isHtmx4 ? [`[${name}='']`, `[${name}=true]`] : [`[${name}]`]))
      .map((mark) => `:not(${mark}, ${mark} *)`)
      .join("");
    /** @type {Set<{start: () => void, pause: () => void, isWaiting: () => boolean}>} */
    const streams = new Set(); // those that are not closed
    /** @type {Map<Element, () => void>} */
    const elements = new Map(); // element -> closes its stream
    let isBack = /** @type {any} */ (performance.getEntriesByType("navigation")[0])?.type === "back_forward";

    /**
     * Put HTML into an element, or beside it, as htmx does if it is there.
     * @param {any} target
     * @param {any} style
     * @param {string} html
     */
    const put = (target, style, html) => {
      // An htmx of the page's own may have come later; and users may have named an element so.
      if (window.htmx?.swap?.call) {
        target.dataset.sseSwap ||= `${Math.random()}`.slice(2);
        const text = `<hx-partial hx-target="[data-sse-swap='${target.dataset.sseSwap}']" hx-swap="${style}">${html}</hx-partial>`;
        if (isHtmx4) htmx.swap({ sourceElement: document.body, swap: "none", text });
        else htmx.swap(document.body, text, { swapStyle: "none" });
      } else if (/^(before|after)/.test(style)) target.insertAdjacentHTML(style, trust("createHTML", html));
      else target.innerHTML = trust("createHTML", html);
    };

    /**
     * Open a stream, and call back for its events: open("/report", {progress: (data) => ...}).
     * @param {string} path
     * @param {Record<string, (data: any, message: any) => void>} handlers by the name of the event; "*" for all
     * @param {any} [element] on which events are dispatched
     * @returns a function that closes the stream
     */
    const open = (path, handlers = {}, element = null) => {
      const url = new URL(path, document.baseURI);
      const data = element ? element.dataset : {};
      /** @type {?AbortController} */
      let run = null; // the attempt that delivers
      /** @type {number | undefined} */
      let watch; // a timer
      let attempts = 0; // that have failed in a row
      let first = 1000; // ms before the first retry, as the server says
      let retry = 0; // ms, of a farewell

      /**
       * Hand a message to the page; an error of the page's own ends no stream.
       * @param {any} message
       */
      const deliver = (message) => {
        const { event } = message;
        const isOurs = /^sse-/.test(event);
        const names = isOurs ? event : `sse:${event}`;
        for (const handler of [handlers[event], handlers["*"]])
          try {
            handler?.(message.data, message);
          } catch (error) {
            reportError(error);
          }
        if (!element) return;
        const dispatch = (/** @type {Element} */ target) =>
          target.dispatchEvent(new CustomEvent(names, { detail: message }));
        dispatch(element);
        // As htmx's own extension does: what is inside may be triggered by an event of the stream.
        element.querySelectorAll(`[hx-trigger*='${names}']${outside}`).forEach(dispatch);
      };

      /** @param {any} message */
      const swap = ({ event, text }) =>
        [element, ...element.querySelectorAll(`[sse-swap]${outside}`)].forEach((target) => {
          const names = target.getAttribute("sse-swap")?.split(/[\s,]+/);
          if (names?.includes(event)) put(target, target.getAttribute("hx-swap") || "innerHTML", text);
        });

      /** @param {any} fields of a message */
      const take = ({ id, event, retry: ms, data: text, type }) => {
        if (id) data.sseLast = id;
        if (event === "sse-open") {
          attempts = 0;
          show("open");
        }
        if (ms) /^sse-[hs]/.test(event) ? (retry = +ms) : (first = +ms);
        if (text === undefined || data.sseState === "stopped") return;
        if (event === "sse-stop") return stop(text);
        event ||= "message";
        const message = { event, data: text, id, timestamp: Date.now() };
        try {
          if (!type) message.data = JSON.parse(text);
        } catch {}
        deliver(message);
        if (element && !/^sse-/.test(event)) swap({ event, text });
      };

      /** @param {string} state */
      const show = (state) => {
        data.sseState = state;
      };

      /**
       * End the stream for good: also a page that is gone back to does not open it again.
       * @param {string} reason
       */
      const stop = (reason) => {
        pause();
        show("stopped");
        streams.delete(stream);
        if (element) remember(path);
        deliver({ event: "sse-stop", data: reason, id: "", timestamp: Date.now() });
      };

      const pause = () => {
        clearTimeout(watch);
        run?.abort();
        run = null;
      };

      const start = async () => {
        pause();
        show(data.sseState || "connecting");
        const own = (run = new AbortController());
        await parsed; // or what triggers htmx would come before it listens
        const listen = () => {
          clearTimeout(watch);
          watch = setTimeout(start, SILENCE); // it may be dead without an error, as after a sleep
        };
        while (run === own) {
          retry = 0;
          if (data.sseLast) url.searchParams.set("lastEventId", data.sseLast);
          listen();
          /** @type {any} */
          const error = await readStream(url.href, own.signal, (messages) => {
            if (run !== own) return;
            listen();
            messages.forEach(take);
          }).catch(String);
          if (run !== own) return;
          clearTimeout(watch);
          // What the server refuses it will refuse again. A redirect has the status 0.
          const status = /^status (\d+)$/.exec(error)?.[1];
          if (status && !/^(5..|408|425|429)$/.test(status))
            return stop(status === "204" ? "cut" : "refused");
          show("retry");
          await sleep(retry || Math.min(first * 2 ** attempts++, MAX_DELAY) * (0.5 + Math.random()));
        }
      };

      const stream = { start, pause, isWaiting: () => data.sseState === "retry" };
      streams.add(stream);
      start();
      return () => {
        pause();
        streams.delete(stream);
      };
    };

    // -- the elements of a page ----------------------------------------------------------------------

    /** @param {string} url */
    const keyOf = (url) => `${/** @type {any} */ (window).navigation?.currentEntry?.key} ${url}`;
    const ended = () => JSON.parse(sessionStorage.getItem(ENDED) || "[]");
    /** @param {string} url */
    const remember = (url) => {
      try {
        sessionStorage.setItem(ENDED, JSON.stringify([...ended(), keyOf(url)].slice(-MOST_ENDED)));
      } catch {} // a browser may have no room, or no storage
    };
    /** @param {string} url */
    const hasEnded = (url) => {
      try {
        return isBack && ended().includes(keyOf(url));
      } catch {
        return false;
      }
    };

    const scan = () => {
      const found = [...document.querySelectorAll(STREAMS + outside)];
      elements.forEach((close, element) => {
        if (found.includes(element)) return;
        elements.delete(element);
        close();
      });
      found.forEach((/** @type {any} */ element) => {
        const url = new URL(element.getAttribute("sse-stream"), document.baseURI);
        if (elements.has(element) || url.origin !== origin) return;
        if (hasEnded(url.href)) element.dataset.sseState = "stopped";
        const isOver = element.dataset.sseState === "stopped";
        elements.set(element, isOver ? () => {} : open(url.href, {}, element));
      });
    };

    // What the user does next is a new wish, and no way back.
    for (const type of ["click", "submit", "keydown"]) addEventListener(type, () => (isBack = false), true);
    addEventListener("popstate", () => (isBack = true), true);
    // A page that is left, if only for the back-forward cache, must not keep a job running.
    addEventListener("pagehide", () => streams.forEach(({ pause }) => pause()));
    addEventListener("pageshow", ({ persisted }) => persisted && streams.forEach(({ start }) => start()));
    addEventListener("online", () => streams.forEach(({ start, isWaiting }) => isWaiting() && start()));
    new MutationObserver((records) => {
      const isMeant = (/** @type {any} */ node) => node.matches?.(STREAMS) || node.querySelector?.(STREAMS);
      records.some(
        (each) => each.attributeName || [...each.addedNodes, ...each.removedNodes].some(isMeant)
      ) && scan();
    }).observe(document, { childList: true, subtree: true, attributeFilter: ["sse-stream"] });
    QuartSSE.open = open;
    scan();
    return scan;
  }
);
