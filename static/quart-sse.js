/*
 * quart-sse.js: one connection per browser, for htmx 2, htmx 4, and pages without htmx.
 *
 * The script of a page and that of a SharedWorker in one file. The worker holds the connection and
 * all tabs share it, each with the topics that its own token covers. Where there is no SharedWorker
 * a page holds a connection of its own, by the same code.
 *
 * A *source* is what one connect element of one tab listens to. A *group* are the sources with the
 * same topics and identity, which need one token. A *hub* holds the connection of some groups. A
 * *run* is a series of attempts to connect, the newest of which goes on until it is replaced.
 */
(() => {
  const MAX_GROUPS = 12; // on one connection, and bytes of its query; the server takes a few more
  const MAX_BYTES = 5000;
  const KEPT = 300; // messages that a page remembers
  const GATHER = 30; // ms in which tabs that open or close together change the connection once
  const LAST_RETRY = 30000; // ms; the first is doubled up to it, and each is spread by half of it
  const SILENCE = 45000; // ms, three heartbeats of the server
  const PING = 3000; // ms between two signs of life of a tab, and of the worker
  const HOUR = 3600000; // ms
  const GONE = 150000; // ms without one; browsers let hidden tabs speak once a minute

  const hubs = []; // functions that take a source, if there is room
  let interval = 1000; // ms before the first retry

  const sleep = (ms) => new Promise((go) => setTimeout(go, ms));

  /** How two positions ("epoch.ms-n...") lie: below, at or above 0; NaN if nobody can say. */
  const compare = (...positions) => {
    const [a, b] = positions.map((text) => /^(\w+)\.(\d+)-(\d+)/.exec(text) || []);
    return a[1] === b[1] ? a[2] - b[2] || a[3] - b[3] : NaN;
  };

  // -- the connection ------------------------------------------------------------------------------

  const createHub = (base) => {
    const sources = new Set();
    let status; // the last message about the connection itself
    let tries = 0;
    let newest, open; // the run that will deliver, and the one that does
    let heard, retry, gathering; // ms

    const tell = (message) => {
      status = message;
      sources.forEach((source) => source.post(message));
    };

    const group = () => {
      const groups = new Map(); // k may be anything, "__proto__" too
      sources.forEach((source) => groups.set(source.k, [...(groups.get(source.k) || []), source]));
      return [...groups.values()];
    };

    // The newest token lives longest; the server finds out who of its sources lacks most.
    const query = (groups) =>
      `${new URLSearchParams(
        groups.flatMap((sources) => [
          ["t", sources.at(-1).t],
          ["since", [...new Set(sources.map(({ since }) => since))].join()],
        ])
      )}`;

    /** Connect anew, soon; the connection that is open goes on until the new one is. */
    const change = () => {
      const start = () => {
        if (newest !== open) newest?.abort();
        newest = null;
        if (sources.size) return keepOpen((newest = new AbortController()));
        open?.abort();
        status = null;
      };
      clearTimeout(gathering);
      gathering = setTimeout(start, GATHER);
      // A worker whose last page goes into the back-forward cache stands still before a timer fires.
      if (!sources.size) start();
    };

    const keepOpen = async (run) => {
      while (newest === run) {
        retry = 0;
        heard = Date.now();
        const data = await read(run).catch(String); // nothing if it has ended as it should
        if (open === run) open = null;
        if (newest !== run) return;
        tell({ state: "retry", data });
        const wait = retry || Math.min(interval * 2 ** tries++, LAST_RETRY) * (0.5 + Math.random());
        heard += wait; // no silence
        await sleep(wait);
      }
    };

    const read = async (run) => {
      const groups = group();
      const type = "text/event-stream";
      // A redirect may lead to another origin, and what is no stream may be a file of users.
      const options = { headers: { Accept: type }, signal: run.signal, redirect: "error" };
      const answer = await fetch(`${base}?${query(groups)}`, options);
      if (!answer.ok || !answer.headers.get("Content-Type")?.startsWith(type)) throw `status ${answer.status}`;
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let rest = ""; ; ) {
        const { done, value } = await reader.read();
        if (done) return;
        if (newest === run) heard = Date.now();
        const blocks = (rest + value).split("\n\n");
        rest = blocks.pop();
        blocks.forEach((block) => take(run, groups, block));
      }
    };

    const take = (run, groups, block) => {
      const message = { __proto__: null, event: "", id: "" };
      block.split("\n").forEach((line) => {
        const [, name, value] = /^(\w+): ?(.*)/s.exec(line) || [];
        message[name] = name === "data" && name in message ? message.data + "\n" + value : value;
      });
      const { event, data, id } = message;
      retry = +message.retry || retry;
      if (event === "sse-open") {
        if (open !== run) open?.abort();
        open = run;
        tries = 0;
        const said = JSON.parse(data);
        tell({ state: "open", stream: [said.id, said.secret] });
        said.topics.forEach((topics, i) => {
          groups[i].forEach((source) => (source.topics = topics));
          if (!topics[0]) stop(groups[i], said.expired?.includes(i) ? "expired" : "refused");
        });
      }
      if (event === "sse-stop") groups.forEach((sources) => stop(sources, data));
      // An event is named by its key, a fragment by what its target has; what has neither is for all.
      const key = (message.key = event || /data-sse='([^']*)/.exec(data)?.[1].replace(/&amp;/g, "&") || "");
      const topic = /\./.test(key) && key.replace(/\.[^?]*/, "");
      groups.flat().forEach((source) => {
        const order = compare(id, source.since);
        // What is for it and what it does not have; what the stream itself is told concerns no tab.
        const isFor = topic ? source.topics.includes(topic) && !(event && order <= 0) : !event || event === "sse-reset";
        if (isFor) source.post(message);
        // The id of a farewell (sse-stop, sse-holdoff) is no position.
        if (id && !(order < 0) && !/^sse-[hs]/.test(event)) source.since = id;
      });
    };

    /** Stop a group; those of its tabs that have another token may still be let in by that. */
    const stop = (sources, data) => {
      sources.forEach((source) => {
        if (source.t !== sources.at(-1).t) return;
        source.post({ state: "stopped", data });
        source.leave();
      });
      change();
    };

    /** Whether there is room for a source, which then is here. */
    const add = (source) => {
      if (source.base !== base) return false;
      sources.add(source);
      const groups = group();
      if (groups[1] && (groups[MAX_GROUPS] || query(groups)[MAX_BYTES])) return !sources.delete(source);
      source.leave = () => {
        source.post = () => {};
        // The others of its group are served as they were.
        if (sources.delete(source) && ![...sources].some(({ k }) => k === source.k)) change();
      };
      if (status) source.post(status);
      change();
      return true;
    };

    // A connection may be dead and not say so, as after a sleep.
    setInterval(() => {
      if (newest && Date.now() - heard > SILENCE) {
        heard = Date.now();
        tell({ state: "retry", data: "silence" });
        change();
      }
    }, PING);

    hubs.push(add);
    return add;
  };

  /** Hold the source at the other end of a port as it wants, until it says nothing more. */
  const serve = (port) => {
    let source, gone;
    const hold = (wanted) => {
      if (source && source.t !== wanted?.t) source = source.leave();
      if (!wanted || source) return;
      source = { ...wanted, post: (message) => port.postMessage(message) };
      hubs.some((add) => add(source)) || createHub(source.base)(source);
    };
    port.onmessage = ({ data }) => {
      clearTimeout(gone);
      gone = setTimeout(hold, GONE);
      interval = data.interval;
      hold(data.wanted);
      port.postMessage({});
    };
  };

  if (typeof document === "undefined") {
    self.onconnect = ({ ports }) => serve(ports[0]);
    return;
  }

  // -- the page ------------------------------------------------------------------------------------

  // Neither may be an element that users have given that name.
  const htmx = window.htmx?.swap?.call && window.htmx;
  const script = Reflect.get(Document.prototype, "currentScript", document);
  const { dataset } = document.documentElement;
  const origins = [origin, ...(script.dataset.origins || origin).split(" ")];
  // What is inside of these is not obeyed. With htmx 4 hx-disable="selector" is something else.
  const MARKS = ["hx-ignore", "data-hx-ignore", "hx-disable", "data-hx-disable"];
  const marks = MARKS.flatMap((name, i) =>
    i > 1 && htmx && !htmx.defineExtension ? [`[${name}='']`, `[${name}=true]`] : `[${name}]`
  );
  const outside = marks.map((mark) => `:not(${mark} *)`).join("");
  const sources = new Map(); // connect element -> source
  const came = new Map(); // key -> what came for it since personal fragments began to be fetched
  const pulls = new Map(); // key of a personal fragment that is being fetched -> whether it has changed since
  const seen = []; // ids of the last events
  const page = `${Math.random()}`.slice(2);
  const own = []; // origins of what this page has caused, by each of its streams
  let secret; // by which the server knows a stream of this page
  let isOff = false;
  let isTyped = false;

  const keep = (list, entry) => list.push(entry) > KEPT && list.shift();

  const say = (source, wanted) => source.port.postMessage({ wanted, interval: api.interval || interval });
  const sayIt = (source) => say(source, isOff || source.isStopped ? null : source.wanted);
  const sayAll = () => sources.forEach(sayIt);
  const sayNone = () => sources.forEach((source) => say(source));
  const rejoin = () => {
    sayNone();
    sayAll();
  };

  const api = (window.QuartSSE = {
    /** What X-SSE-Page says: who asks. */
    get page() {
      return secret ? `${secret}.${page}` : "";
    },
    isConnected: false,
    isConnecting: false,
    messages: [],
    reconnect: true,
    interval,
    attempts: Infinity,
    /** Call back for an event of a topic: on("comments", "added", {discussion_id: 7}, callback). */
    on(channel, event, params, callback = event) {
      const wanted = new URLSearchParams(params);
      wanted.sort();
      const listen = ({ detail }) => {
        const [name, query] = detail.event.split("?");
        const isIt = name === `${channel}.${event}` && `${new URLSearchParams(query)}` === `${wanted}`;
        if (isIt || channel === "*") callback(detail.data, detail);
      };
      addEventListener("sse:message", listen);
      return () => removeEventListener("sse:message", listen);
    },
    clearMessages() {
      api.messages = [];
    },
    connect() {
      isOff = false;
      sources.forEach((source) => (source.isStopped = false));
      rejoin();
    },
    disconnect() {
      isOff = true;
      sayAll();
      show("stopped");
    },
  });

  const emit = (target, name, detail) => target.dispatchEvent(new CustomEvent(name, { bubbles: true, detail }));

  const paint = () =>
    document.querySelectorAll("[data-sse-status] > *").forEach((text) => {
      text.hidden = text.dataset.state !== dataset.sseState;
    });

  /** Show people and scripts how the connection is. */
  const show = (state, error = null) => {
    const before = dataset.sseState;
    dataset.sseState = state;
    paint();
    api.isConnected = state === "open";
    api.isConnecting = !api.isConnected && state !== "stopped";
    api.error = error;
    if (error) api.onerror?.(error);
    if (state === before) return;
    emit(document, `sse:${state}`, { state, error });
    if (api.isConnected) api.onconnect?.();
    if (before === "open") api.ondisconnect?.(state);
  };

  /** Begin with connect elements that have come, and end with those that have gone. */
  const scan = () => {
    const leaves = [
      ...document.querySelectorAll(`:is([sse-connect],[hx-sse\\:connect]):not(${marks})${outside}`),
    ];
    sources.forEach((source, leaf) => {
      if (leaves.includes(leaf)) return;
      sources.delete(leaf);
      say(source);
    });
    leaves.forEach((leaf) => {
      const link = document.createElement("a"); // whose href is the whole URL, and never raises
      link.href = leaf.getAttribute("sse-connect") || leaf.getAttribute("hx-sse:connect");
      const [base, query] = link.href.split("?");
      const { t, k, since } = Object.fromEntries(new URLSearchParams(query));
      if (sources.has(leaf) || !k || !origins.some((each) => base.startsWith(`${each}/`))) return;
      const source = { wanted: { base, t, k, since }, failures: 0 };
      sources.set(leaf, source);
      show(dataset.sseState || "connecting");
      hire(source, leaf);
    });
    if (!sources.size) delete dataset.sseState;
    paint();
  };

  /** Put a source into the hands of the worker, or of one in the page. */
  const hire = (source, leaf) => {
    const listen = (port) => {
      if (source.port) say(source);
      source.port = port;
      source.missed = 0;
      port.onmessage = ({ data }) => {
        source.missed = 0;
        if (sources.get(leaf) === source) take(leaf, source, data);
      };
      sayIt(source);
    };
    const alone = () => {
      const { port1, port2 } = new MessageChannel();
      serve(port1);
      listen(port2);
    };
    try {
      const worker = new SharedWorker(script.src, "quart-sse");
      worker.onerror = alone; // by a policy, perhaps
      listen(worker.port);
    } catch {
      alone();
    }
  };

  /** Put in a fragment, if the page shows it: other tabs and sources want others of the topic. */
  const put = (key, html) =>
    isShown(key) &&
    // One at a time: htmx 4 looks for the targets of all before it changes anything.
    html.split(/(?=<hx-partial )/).forEach((one) => swap(one.replace(`']"`, `']${outside}"`)));
  const isShown = (key) => document.querySelector(`[data-sse='${key}']${outside}`);

  /** Fetch a personal fragment, and again if it has changed, or has not come, meanwhile. */
  const pull = async (key, url, delay) => {
    const isBusy = pulls.has(key);
    pulls.size || came.clear();
    pulls.set(key, true);
    if (isBusy) return;
    while (pulls.get(key) && isShown(key)) {
      await sleep(delay);
      pulls.set(key, false);
      try {
        const answer = await fetch(url, { headers: { "HX-Request": "true" } });
        const html = await answer.text();
        if (answer.ok && !answer.redirected) put(key, `<hx-partial hx-target="[data-sse='${key}']" hx-swap="innerMorph">${html}</hx-partial>`);
        came.forEach((html, key) => put(key, html)); // it may be newer than what is inside
        if (answer.status > 499) throw 0;
      } catch {
        pulls.set(key, true);
        delay = LAST_RETRY * Math.random();
      }
    }
    pulls.delete(key);
  };

  /** Reload the page if nothing was typed in it, and not before it is an hour old. */
  const reload = async () => {
    await sleep(HOUR - performance.now());
    if (!isTyped && dataset.sseState === "stopped") location.reload();
  };

  const take = (leaf, source, { state, key, event, data, id, origin, stream }) => {
    const { wanted } = source;
    if (id) wanted.since = id;
    if (stream) {
      secret = stream[1];
      keep(own, `${stream[0]}.${page}`);
    }
    if (state) {
      source.isStopped = state === "stopped";
      source.failures = state === "retry" ? source.failures + 1 : 0;
      const isStopped = isOff || [...sources.values()].some((other) => other.isStopped);
      show(isStopped ? "stopped" : state, data);
      if (source.failures > (api.reconnect ? api.attempts : 0)) api.disconnect();
      if (data === "expired" && "reload" in script.dataset) reload();
    } else if (!event) {
      const [, token, k] = /^<hx-partial hx-target="#sse-.*\?t=([^&]+)&amp;k=(\w+)/s.exec(data) || [];
      if (k === wanted.k) {
        wanted.t = decodeURIComponent(token); // the page's own expires soon
        sayIt(source);
      }
      const [, url, delay] = /^[^>]+beforeend"><span hidden hx-get="([^"]+).*?delay:(\d+)/.exec(data) || [];
      if (url) pull(key, new URL(url.replace(/&amp;/g, "&"), wanted.base), +delay);
      else {
        came.delete(key);
        came.set(key, data);
        put(key, data);
      }
    } else if (!own.includes(origin)) {
      let value = data;
      try {
        value = JSON.parse(data);
      } catch {}
      const message = { event, data: value, id };
      if (event === "sse-reset") return emit(leaf, event);
      // Another source may have the topic too, and a page that is restored asks for what it had.
      const [exact] = id.split(/[~@]/);
      if (seen.includes(exact)) return;
      if (id) keep(seen, exact);
      emit(leaf, event, message);
      api.lastMessage = message;
      keep(api.messages, message);
      emit(leaf, "sse:message", message);
    }
  };

  setInterval(() => {
    sources.forEach((source, leaf) => source.missed++ > 1 && hire(source, leaf)); // the worker was killed
    sayAll();
  }, PING);
  new MutationObserver(scan).observe(document, { childList: true, subtree: true, attributeFilter: MARKS });
  scan();

  addEventListener("online", rejoin);
  addEventListener("input", () => (isTyped = true), true);
  // A page in the back-forward cache must not hold what it cannot read.
  addEventListener("pagehide", sayNone);
  addEventListener("pageshow", sayAll);

  // -- htmx ------------------------------------------------------------------------------------------

  const swapPlainly = (html) =>
    document
      .createRange()
      .createContextualFragment(html.replace(/(<\/?)hx-partial/g, "$1template")) // which keeps rows of tables
      .querySelectorAll("[hx-swap=innerMorph]")
      .forEach((partial) =>
        document.querySelectorAll(partial.getAttribute("hx-target")).forEach((element) => {
          element.innerHTML = partial.innerHTML;
        })
      );

  const swap = !htmx
    ? swapPlainly
    : htmx.defineExtension
      ? (html) => htmx.swap(document.body, html, { swapStyle: "none" })
      : (text) => htmx.swap({ sourceElement: document.body, swap: "none", text });
})();
