/*
 * quart-sse.js: one connection per browser, for htmx 2, htmx 4, and pages without htmx.
 *
 * The script of a page and that of a SharedWorker in one file. The worker holds the connection, and
 * all tabs share it, each with the topics that its own token covers. Where there is no SharedWorker
 * a page holds a connection of its own, by the same code.
 *
 * A *subscription* is what one connect element of one tab listens to; its *spec* is what the page
 * asks the worker for. A *share* is all subscriptions with the same topics and identity, which need
 * one token. A *connection* keeps one stream open for some shares. A *run* is a series of attempts
 * to open that stream; it goes on until a newer run replaces it.
 */
(() => {
  const MAX_SHARES = 12; // on one connection, and bytes of its query; the server takes a few more
  const MAX_BYTES = 5000;
  const MAX_MESSAGES = 300; // that a page remembers
  const DEBOUNCE = 30; // ms in which tabs that open or close together replace the stream once
  const MAX_DELAY = 30000; // ms; the first retry delay doubles up to it, and each varies by half
  const SILENCE = 45000; // ms, three heartbeats of the server
  const PING = 3000; // ms between two signs of life of a tab, and of the worker
  const TAB_TIMEOUT = 150000; // ms without one; browsers let hidden tabs run once a minute
  const HOUR = 3600000; // ms

  const connections = []; // functions that take a subscription, if there is room
  let interval = 1000; // ms before the first retry

  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

  /** Compare two positions ("epoch.ms-n..."): below, at or above 0; NaN if they have no order. */
  const compare = (...positions) => {
    const [a, b] = positions.map((text) => /^(\w+)\.(\d+)-(\d+)/.exec(text) || []);
    return a[1] === b[1] ? a[2] - b[2] || a[3] - b[3] : NaN;
  };

  // -- the connection ------------------------------------------------------------------------------

  const createConnection = (url) => {
    const subscriptions = new Set();
    let status; // the last message about the connection itself
    let attempts = 0; // that have failed in a row
    let newest, open; // the run that will deliver, and the one that does
    let received, retry, debounce; // ms

    const broadcast = (message) => {
      status = message;
      subscriptions.forEach((subscription) => subscription.post(message));
    };

    const getShares = () => {
      const shares = new Map(); // a key may be anything, "__proto__" too
      subscriptions.forEach((subscription) =>
        shares.set(subscription.shareKey, [...(shares.get(subscription.shareKey) || []), subscription])
      );
      return [...shares.values()];
    };

    // The newest token lives longest; the server finds the lowest position of each share.
    const query = (shares) =>
      `${new URLSearchParams(
        shares.flatMap((share) => [
          ["t", share.at(-1).token],
          ["since", [...new Set(share.map(({ since }) => since))].join()],
        ])
      )}`;

    /** Replace the stream, soon; the open one goes on until the new one is open. */
    const replace = () => {
      const start = () => {
        if (newest !== open) newest?.abort();
        newest = null;
        if (subscriptions.size) return keepOpen((newest = new AbortController()));
        open?.abort();
        status = null;
      };
      clearTimeout(debounce);
      debounce = setTimeout(start, DEBOUNCE);
      // A worker whose last page goes into the back-forward cache stands still before a timer fires.
      if (!subscriptions.size) start();
    };

    const keepOpen = async (run) => {
      while (newest === run) {
        retry = 0;
        received = Date.now();
        const data = await read(run).catch(String); // undefined after a regular end
        if (open === run) open = null;
        if (newest !== run) return;
        broadcast({ state: "retry", data });
        const delay = retry || Math.min(interval * 2 ** attempts++, MAX_DELAY) * (0.5 + Math.random());
        received += delay; // the delay is no silence
        await sleep(delay);
      }
    };

    const read = async (run) => {
      const shares = getShares();
      const type = "text/event-stream";
      // A redirect may lead to another origin, and what is no stream may be a file of users.
      const options = { headers: { Accept: type }, signal: run.signal, redirect: "error" };
      const response = await fetch(`${url}?${query(shares)}`, options);
      if (!response.ok || !response.headers.get("Content-Type")?.startsWith(type)) throw `status ${response.status}`;
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let rest = ""; ; ) {
        const { done, value } = await reader.read();
        if (done) return;
        if (newest === run) received = Date.now();
        const blocks = (rest + value).split("\n\n");
        rest = blocks.pop();
        blocks.forEach((block) => deliver(run, shares, block));
      }
    };

    const deliver = (run, shares, block) => {
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
        attempts = 0;
        const opened = JSON.parse(data);
        broadcast({ state: "open", stream: [opened.id, opened.secret] });
        opened.topics.forEach((topics, i) => {
          shares[i].forEach((subscription) => (subscription.topics = topics));
          if (!topics[0]) stop(shares[i], opened.expired?.includes(i) ? "expired" : "refused");
        });
      }
      if (event === "sse-stop") shares.forEach((share) => stop(share, data));
      // The key of an event is its name, that of a fragment is in its target; without one it is for all.
      const key = (message.key = event || /data-sse='([^']*)/.exec(data)?.[1].replace(/&amp;/g, "&") || "");
      const topic = /\./.test(key) && key.replace(/\.[^?]*/, "");
      shares.flat().forEach((subscription) => {
        const order = compare(id, subscription.since);
        // A tab gets what it listens to and does not have; messages about the stream are not for tabs.
        const isFor = topic ? subscription.topics.includes(topic) && !(event && order <= 0) : !event || event === "sse-reset";
        if (isFor) subscription.post(message);
        // The id of a farewell (sse-stop, sse-holdoff) is no position.
        if (id && !(order < 0) && !/^sse-[hs]/.test(event)) subscription.since = id;
      });
    };

    /** Stop a share; its tabs that have another token go on, for the server may accept that one. */
    const stop = (share, data) => {
      share.forEach((subscription) => {
        if (subscription.token !== share.at(-1).token) return;
        subscription.post({ state: "stopped", data });
        subscription.leave();
      });
      replace();
    };

    /** Add a subscription if there is room for it, and return whether there is. */
    const add = (subscription) => {
      if (subscription.url !== url) return false;
      subscriptions.add(subscription);
      const shares = getShares();
      if (shares[1] && (shares[MAX_SHARES] || query(shares)[MAX_BYTES])) return !subscriptions.delete(subscription);
      subscription.leave = () => {
        subscription.post = () => {};
        // The rest of its share needs no other stream.
        if (!subscriptions.delete(subscription)) return;
        if (![...subscriptions].some(({ shareKey }) => shareKey === subscription.shareKey)) replace();
      };
      if (status) subscription.post(status);
      replace();
      return true;
    };

    // A connection may be dead without an error, as after a sleep.
    setInterval(() => {
      if (newest && Date.now() - received > SILENCE) {
        received = Date.now();
        broadcast({ state: "retry", data: "silence" });
        replace();
      }
    }, PING);

    connections.push(add);
    return add;
  };

  /** Hold the subscription that the tab at the other end of a port asks for, until the tab is silent. */
  const serve = (port) => {
    let subscription, timeout;
    const hold = (spec) => {
      if (subscription && subscription.token !== spec?.token) subscription = subscription.leave();
      if (!spec || subscription) return;
      subscription = { ...spec, post: (message) => port.postMessage(message) };
      connections.some((add) => add(subscription)) || createConnection(subscription.url)(subscription);
    };
    port.onmessage = ({ data }) => {
      clearTimeout(timeout);
      timeout = setTimeout(hold, TAB_TIMEOUT);
      interval = data.interval;
      hold(data.spec);
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

  const keep = (list, entry) => list.push(entry) > MAX_MESSAGES && list.shift();

  const say = (source, wanted) => source.port.postMessage({ spec: wanted, interval: api.interval || interval });
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
      const [url, query] = link.href.split("?");
      const { t: token, k: shareKey, since } = Object.fromEntries(new URLSearchParams(query));
      if (sources.has(leaf) || !shareKey || !origins.some((each) => url.startsWith(`${each}/`))) return;
      const source = { wanted: { url, token, shareKey, since }, failures: 0 };
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
        delay = MAX_DELAY * Math.random();
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
      const [, token, shareKey] = /^<hx-partial hx-target="#sse-.*\?t=([^&]+)&amp;k=(\w+)/s.exec(data) || [];
      if (shareKey === wanted.shareKey) {
        wanted.token = decodeURIComponent(token); // the page's own expires soon
        sayIt(source);
      }
      const [, url, delay] = /^[^>]+beforeend"><span hidden hx-get="([^"]+).*?delay:(\d+)/.exec(data) || [];
      if (url) pull(key, new URL(url.replace(/&amp;/g, "&"), wanted.url), +delay);
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
