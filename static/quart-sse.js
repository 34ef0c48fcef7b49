/*
 * quart-sse.js: one connection per browser, for htmx 2, htmx 4, and pages without htmx.
 *
 * The page's script and the script of a SharedWorker in one file. The worker holds the stream; all
 * tabs share it, each with the topics that its own token covers. Where there is no SharedWorker
 * the page holds a stream of its own, by the same code.
 *
 * Words: a *source* is what one connect element of one tab listens to; an *entry* is a token with
 * the sources that share it; a *hub* holds the connection for up to MAX_ENTRIES of them.
 */
(() => {
  "use strict";

  const MAX_ENTRIES = 12; // tokens on one connection, and bytes of them; the server takes a few more
  const MAX_BYTES = 5000;
  const KEPT = 300; // messages that a page remembers
  const GATHER = 30; // ms in which tabs that open or close together change the connection once
  const FIRST_RETRY = 1000; // ms; doubled up to the last, and spread by half of it
  const LAST_RETRY = 30000;
  const PING = 5000; // ms between two signs of life of a tab, and of the worker
  const GONE = 150000; // ms without one; browsers let hidden tabs speak once a minute

  // -- positions: "epoch.ms-n", and more that only the server reads ---------------------------------

  const parse = (text) => /^(\w+)\.(\d+)-(\d+)/.exec(text || "");

  /** How two positions lie to each other: below, at or above 0; NaN if they cannot be compared. */
  const compare = (a, b) => {
    const [x, y] = [parse(a), parse(b)];
    return x && y && x[1] === y[1] ? x[2] - y[2] || x[3] - y[3] : NaN;
  };

  const parameter = (url, name) => (RegExp(`[?&]${name}=([^&]*)`).exec(url) || [])[1];

  /** The topic of a message: of an event by its name, of a fragment by its target. */
  const topicOf = (message) => {
    const found = message.event
      ? /^([^.?]+)\.[^?]*(.*)/.exec(message.event)
      : /data-sse='([^.?']+)\.[^?']*([^']*)/.exec(message.data);
    return found && (found[1] + found[2]).replace(/&amp;/g, "&");
  };

  // -- the connection ------------------------------------------------------------------------------

  class Hub {
    constructor(base) {
      this.base = base;
      this.entries = new Map(); // key -> entry
      this.state = "connecting";
      this.open = null; // the run that delivers, and the newest one, which will
      this.run = null;
    }

    hasRoom(key, token) {
      const bytes = [...this.entries.values()].reduce((sum, e) => sum + e.token.length + 60, token.length);
      return this.entries.has(key) || (this.entries.size < MAX_ENTRIES && bytes < MAX_BYTES);
    }

    add(source) {
      const entry = this.entries.get(source.key) || { since: source.position, last: "", sources: new Set() };
      this.entries.set(source.key, entry);
      entry.token = source.token; // the newest one lives longest
      entry.sources.add(source);
      // The others are not given again what this one lacks.
      if (!(compare(source.position, entry.last || entry.since) >= 0)) entry.last = source.position;
      source.post({ state: this.state });
      this.change();
    }

    remove(source) {
      const entry = this.entries.get(source.key);
      if (entry && entry.sources.delete(source) && !entry.sources.size) {
        this.entries.delete(source.key);
        this.change();
      }
    }

    change() {
      clearTimeout(this.gathering);
      this.gathering = setTimeout(() => this.start(), GATHER);
    }

    /** Connect anew; the connection that is open goes on until the new one is. */
    start() {
      const { run, open } = this;
      if (run && run !== open) run.abort();
      this.run = null;
      if (this.entries.size) this.keepOpen((this.run = new AbortController()));
      else if (open) open.abort();
    }

    async keepOpen(run) {
      for (let tries = 0; this.run === run; tries++) {
        this.retry = 0;
        try {
          await this.read(run, () => (tries = 0));
        } catch (error) {
          this.error = String(error);
        }
        if (this.run !== run) return;
        this.tell("retry");
        const wait = Math.min(FIRST_RETRY * 2 ** tries, LAST_RETRY) * (0.5 + Math.random());
        await new Promise((go) => {
          this.hurry = go;
          setTimeout(go, this.retry || wait);
        });
      }
    }

    url() {
      const entries = [...this.entries.values()];
      const isOne = entries.length === 1;
      const pairs = entries.map(
        (e) => `t=${e.token}&since=${encodeURIComponent((!isOne && e.last) || e.since)}`
      );
      return [`${this.base}?${pairs.join("&")}`, isOne && entries[0].last];
    }

    async read(run, onOpen) {
      const [url, last] = this.url();
      const keys = [...this.entries.keys()];
      const stop = new AbortController();
      const abort = () => stop.abort();
      run.signal.addEventListener("abort", abort);
      let silence;
      const hear = (ms = 45000) => {
        clearTimeout(silence);
        silence = setTimeout(abort, ms);
      };
      try {
        hear();
        const headers = { Accept: "text/event-stream", ...(last && { "Last-Event-ID": last }) };
        const answer = await fetch(url, { headers, cache: "no-store", signal: stop.signal });
        if (!/^text\/event-stream/.test(answer.headers.get("Content-Type"))) {
          throw Error(`status ${answer.status}`);
        }
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        for (let rest = ""; ; ) {
          const { done, value } = await reader.read();
          if (done) return;
          hear();
          const blocks = (rest + value).split("\n\n");
          rest = blocks.pop();
          for (const block of blocks) this.take(run, keys, block, onOpen);
        }
      } finally {
        clearTimeout(silence);
        run.signal.removeEventListener("abort", abort);
        if (this.open === run) this.open = null;
      }
    }

    take(run, keys, block, onOpen) {
      const message = { event: "", data: "", id: "" };
      for (const line of block.split("\n")) {
        const [, name, value] = /^(\w+): ?(.*)$/s.exec(line) || [];
        if (name === "data") message.data += (message.data && "\n") + value;
        else if (name === "retry") this.retry = +value;
        else if (name) message[name] = value;
      }
      const { event } = message;
      if (event === "sse-open") {
        JSON.parse(message.data).topics?.forEach((topics, i) => {
          const entry = this.entries.get(keys[i]);
          if (entry) entry.topics = new Set(topics);
        });
        onOpen();
        if (this.open && this.open !== run) this.open.abort();
        this.open = run;
        this.tell("open");
      } else if (event === "sse-refused") {
        JSON.parse(message.data).tokens.forEach((i) => this.stop(keys[i], "refused"));
        return;
      } else if (event === "sse-stop") {
        keys.forEach((key) => this.stop(key, message.data));
        this.run = null;
        return;
      }
      for (const [key, entry] of this.entries) {
        if (!keys.includes(key)) continue;
        entry.sources.forEach((source) => this.give(entry, source, message));
        if (message.id && !(compare(message.id, entry.last) < 0)) entry.last = message.id;
      }
    }

    /** Give a source a message that is for it and that it does not have. */
    give(entry, source, message) {
      const { event, data, id } = message;
      const topic = topicOf(message);
      const isOurs = !topic || !entry.topics || entry.topics.has(topic);
      const isFact = event && !event.startsWith("sse-");
      const isOld = isFact && compare(id, source.position) <= 0;
      if (isOurs && !isOld && (event || data)) source.post(message);
      if (id && !(compare(id, source.position) < 0)) source.position = id;
    }

    stop(key, reason) {
      const entry = this.entries.get(key);
      if (!entry) return;
      this.entries.delete(key);
      for (const source of entry.sources) source.post({ event: "sse-stop", data: reason, id: "", state: "stopped" });
    }

    tell(state) {
      this.state = state;
      for (const { sources } of this.entries.values()) sources.forEach((source) => source.post({ state }));
    }
  }

  const hubs = [];

  const join = (source) => {
    source.key = parameter(source.url, "k") || source.url;
    source.token = parameter(source.url, "t");
    source.position = decodeURIComponent(parameter(source.url, "since") || "");
    const base = source.url.split("?")[0];
    source.hub = hubs.find((hub) => hub.base === base && hub.hasRoom(source.key, source.token));
    if (!source.hub) hubs.push((source.hub = new Hub(base)));
    source.hub.add(source);
  };

  const part = (source) => {
    source.hub.remove(source);
    if (!source.hub.entries.size) hubs.splice(hubs.indexOf(source.hub), 1);
  };

  const hurry = () => hubs.forEach((hub) => hub.hurry?.());

  // -- the worker ----------------------------------------------------------------------------------

  if (typeof document === "undefined") {
    const tabs = new Set();
    self.onconnect = ({ ports: [port] }) => {
      const tab = { sources: new Map(), seen: 0 };
      const leave = (id) => {
        const source = tab.sources.get(id);
        if (tab.sources.delete(id)) part(source);
      };
      tab.leave = () => [...tab.sources.keys()].forEach(leave);
      port.onmessage = ({ data: { open, url, close, online } }) => {
        tabs.add(tab);
        tab.seen = Date.now();
        if (open) {
          leave(open);
          const source = { url, post: (message) => port.postMessage({ ...message, to: open }) };
          tab.sources.set(open, source);
          join(source);
        } else if (close) leave(close);
        else if (online) hurry();
        else port.postMessage({ alive: [...tab.sources.keys()] });
      };
    };
    setInterval(() => {
      for (const tab of tabs) {
        if (Date.now() - tab.seen > GONE) {
          tab.leave();
          tabs.delete(tab);
        }
      }
    }, PING);
    return;
  }

  // -- the page ------------------------------------------------------------------------------------

  const script = document.currentScript;
  const sources = new Map(); // number -> Source
  const handlers = new Map(); // name -> callbacks
  let count = 0;
  let worker = null;
  let heard = 0;

  const emit = (name, detail) => document.dispatchEvent(new CustomEvent(name, { detail }));

  const api = (window.QuartSSE = {
    isConnected: false,
    isConnecting: true,
    lastMessage: null,
    messages: [],
    error: null,
    /** Call back for an event of a topic: on("comments", "added", {discussion_id: 7}, callback). */
    on(channel, event, params, callback) {
      const name = channel === "*" ? "*" : wireName(channel, event, params);
      const call = channel === "*" ? event : callback;
      if (!handlers.has(name)) handlers.set(name, new Set());
      handlers.get(name).add(call);
      return () => handlers.get(name).delete(call);
    },
    clearMessages() {
      api.messages = [];
    },
    connect() {
      for (const source of sources.values()) source.join();
    },
    disconnect() {
      for (const source of sources.values()) source.part();
      setState("stopped");
    },
  });

  const quote = (text) =>
    encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

  const wireName = (channel, event, params = {}) => {
    const pairs = Object.keys(params).sort().map((name) => `${name}=${quote(params[name])}`);
    return `${channel}.${event}${pairs.length ? `?${pairs.join("&")}` : ""}`;
  };

  const setState = (state) => {
    const root = document.documentElement;
    if (root.dataset.sseState === state) return;
    root.dataset.sseState = state;
    api.isConnected = state === "open";
    api.isConnecting = state === "connecting" || state === "retry";
    emit(`sse:${state}`, { state });
  };

  /** What an EventSource is for htmx 2; it never reports that it is closed, for it heals itself. */
  class Source extends EventTarget {
    constructor(url) {
      super();
      this.url = url;
      this.readyState = 0;
      this.number = ++count;
      sources.set(this.number, this);
      this.join();
    }

    join() {
      this.part();
      this.isIn = true;
      const url = this.last ? this.url.replace(/([?&]since=)[^&]*/, `$1${encodeURIComponent(this.last)}`) : this.url;
      if (worker) worker.port.postMessage({ open: this.number, url });
      else join((this.local = { url, post: (message) => this.take(message) }));
    }

    part() {
      if (!this.isIn) return;
      this.isIn = false;
      if (this.local) part(this.local);
      else worker?.port.postMessage({ close: this.number });
      this.local = null;
    }

    take({ event, data, id, state }) {
      if (id) this.last = id;
      if (event !== undefined && (event || data)) {
        const message = new MessageEvent(event || "message", { data, lastEventId: id });
        this.raw?.(message);
        this.dispatchEvent(message);
        note(event, data, id);
      }
      if (state && state !== this.state) {
        this.state = state;
        this.readyState = state === "open" ? 1 : 0;
        setState(state);
        if (state === "open") this.onopen?.(new Event("open"));
        if (state === "retry") this.onerror?.(new Event("error"));
      }
    }

    close() {
      this.part();
      sources.delete(this.number);
    }
  }

  const note = (event, data, id) => {
    if (!event) {
      if (!window.htmx) swap(data);
      return;
    }
    let value = data;
    try {
      value = JSON.parse(data);
    } catch {}
    const message = { event, data: value, id };
    api.lastMessage = message;
    if (api.messages.push(message) > KEPT) api.messages.shift();
    emit("sse:message", message);
    for (const name of [event, "*"]) handlers.get(name)?.forEach((callback) => callback(value, message));
  };

  /** Put fragments into a page that has no htmx. */
  const swap = (html) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    template.content.querySelectorAll("hx-partial").forEach((partial) => {
      document.querySelectorAll(partial.getAttribute("hx-target")).forEach((element) => {
        if (partial.getAttribute("hx-swap") === "innerMorph") element.innerHTML = partial.innerHTML;
      });
    });
  };

  // -- the worker as the page sees it ----------------------------------------------------------------

  const hire = () => {
    try {
      worker = new SharedWorker(script.src, { name: `quart-sse ${heard ? Date.now() : ""}` });
    } catch {
      return;
    }
    heard = Date.now();
    worker.onerror = () => {
      worker = null; // by a policy, perhaps: each page for itself
      api.connect();
    };
    worker.port.onmessage = ({ data }) => {
      heard = Date.now();
      if (!data.alive) return sources.get(data.to)?.take(data);
      // Asleep for too long, so that the worker took this tab for closed.
      for (const source of sources.values()) {
        if (source.isIn && !data.alive.includes(source.number)) source.join();
      }
    };
  };
  let pinged = 0;
  setInterval(() => {
    if (!worker) return;
    if (pinged && heard < pinged && Date.now() - pinged < 2.5 * PING) {
      hire(); // the worker was killed
      api.connect();
    }
    pinged = Date.now();
    worker.port.postMessage({});
  }, PING);
  hire();

  addEventListener("online", () => (worker ? worker.port.postMessage({ online: 1 }) : hurry()));
  // A page in the back-forward cache must not hold what it cannot read.
  addEventListener("pagehide", () => sources.forEach((source) => source.part()));
  addEventListener("pageshow", (event) => event.persisted && api.connect());

  // -- htmx ------------------------------------------------------------------------------------------

  const isOurs = (url) => parameter(url, "k");

  if (window.htmx?.createEventSource === undefined && window.htmx?.defineExtension) {
    htmx.createEventSource = (url) =>
      isOurs(url) ? new Source(url) : new EventSource(url, { withCredentials: true });
    if (window.Idiomorph) {
      // What somebody has changed stays, until the form is reset.
      const typed = new WeakSet();
      addEventListener("input", ({ target }) => typed.add(target), true);
      addEventListener("reset", ({ target }) => [...target.elements].forEach((e) => typed.delete(e)), true);
      htmx.defineExtension("quart-sse", {
        isInlineSwap: () => false,
        handleSwap: (style, target, content) =>
          style === "innerMorph" &&
          Idiomorph.morph(target, content.childNodes, {
            morphStyle: "innerHTML",
            ignoreActiveValue: true,
            callbacks: {
              beforeAttributeUpdated: (name, element) =>
                !/^(value|checked|selected)$/.test(name) || !typed.has(element.closest("select") || element),
            },
          }),
      });
      const root = document.documentElement;
      root.setAttribute("hx-ext", [root.getAttribute("hx-ext"), "quart-sse"].filter(Boolean).join(","));
    }
  } else if (window.htmx) {
    htmx.config.sse = { pauseOnBackground: false, ...htmx.config.sse };
    document.addEventListener("htmx:before:request", ({ detail: { ctx } }) => {
      if (!ctx.sourceElement?.hasAttribute?.("hx-sse:connect") || !isOurs(ctx.request.action)) return;
      ctx.fetch = async (url, { signal } = {}) => {
        let source;
        const encoder = new TextEncoder();
        const body = new ReadableStream({
          start(controller) {
            source = new Source(url);
            source.raw = ({ type, data }) => {
              const event = type === "message" ? "" : `event: ${type}\n`;
              controller.enqueue(encoder.encode(`${event}data: ${data.replace(/\n/g, "\ndata: ")}\n\n`));
            };
          },
          cancel: () => source.close(),
        });
        signal?.addEventListener("abort", () => source.close());
        return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
      };
    });
  } else {
    document.addEventListener("DOMContentLoaded", () => {
      for (const leaf of document.querySelectorAll("[sse-connect],[hx-sse\\:connect]")) {
        new Source(leaf.getAttribute("sse-connect") || leaf.getAttribute("hx-sse:connect"));
      }
    });
  }

  // Who sent a request, so that the server can leave this page out.
  api.page = Math.random().toString(36).slice(2, 14);
  const mark = ({ detail }) => ((detail.headers || detail.ctx.request.headers)["X-SSE-Page"] = api.page);
  document.addEventListener("htmx:configRequest", mark);
  document.addEventListener("htmx:config:request", mark);

  setState("connecting");
})();
