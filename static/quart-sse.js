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

/**
 * What a page asks the worker for.
 * @typedef {{url: string, token: string, shareKey: string, count: any, position: string, mark: ?string, lost?: string[]}} Spec
 */
/**
 * What the worker tells a page: a message of the stream by its fields, a state of the connection, or
 * nothing, as a sign of life. Those of type any are texts that the others call for.
 * @typedef {object} Message
 * @property {string} [state]
 * @property {{id: string, secret: string, files?: string}} [stream] what an open stream has begun with
 * @property {string[]} [refused] topics, and keys of fragments, of which that stream has nothing
 * @property {string} [event]
 * @property {any} [data]
 * @property {any} [id]
 * @property {string} [once] name of an event without an id, of which a second copy is dropped
 * @property {any} [origin]
 * @property {string} [type] "text" for data that are text and read like JSON
 * @property {any} [key]
 * @property {string} [load] ms and URL of a personal fragment
 * @property {string} [token] key, token, position and number of a renewed connect element
 */
/**
 * A subscription as the worker has it.
 * @typedef {object} Held
 * @property {(message: Message) => void} post
 * @property {() => void} leave
 * @property {string[]} admitted names of the topics and audiences whose messages the tab gets
 */
/** @typedef {Spec & Held} Subscription */
/**
 * A subscription as the page has it.
 * @typedef {object} Own
 * @property {Spec} spec
 * @property {number} failures in a row
 * @property {number} missed signs of life of the worker
 * @property {boolean} [isStopped]
 * @property {string[]} [lost] topics, and keys of fragments, of which the page is sent nothing
 * @property {MessagePort} port
 */

(() => {
  const MAX_SHARES = 12; // on one connection, topics, and bytes of its query; the server takes a few more
  const MAX_TOPICS = 1024;
  const MAX_BYTES = 5000;
  const MAX_MESSAGES = 300; // that a page remembers
  const DEBOUNCE = 30; // ms in which tabs that open or close together replace the stream once
  const MAX_DELAY = 30000; // ms; the first retry delay doubles up to it, and each varies by half
  const SILENCE = 45000; // ms, three heartbeats of the server
  const PING = 3000; // ms between two signs of life of a tab, and of the worker
  const PATIENCE = 5000; // ms without one after which a tab is asked for one, three times in all
  const LASTING = 10000; // ms after which a stream counts as one that stays open

  /** @type {((subscription: Subscription) => boolean)[]} */
  const connections = []; // functions that take a subscription, if there is room
  let interval = 0; // ms before the first retry, as the last page says that has one; 0: the server's

  /** @param {number} ms */
  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

  /**
   * Compare two positions ("epoch.ms-n..."): below, at or above 0; NaN if they have no order.
   * @param {string[]} positions
   */
  const compare = (...positions) => {
    /** @type {any[][]} */
    const [a, b] = positions.map((text) => /^(\w+)\.(\d+)-(\d+)/.exec(text) || []);
    return a[1] === b[1] ? a[2] - b[2] || a[3] - b[3] : NaN;
  };

  /**
   * Read a stream, and hand on its messages by their fields, those of each piece that comes together.
   * @param {string} url
   * @param {AbortSignal} signal
   * @param {(messages: any[]) => void} take
   */
  const readStream = async (url, signal, take) => {
    const type = "text/event-stream";
    // A redirect may lead to another origin, and what is no stream may be a file of users.
    const response = await fetch(url, { headers: { Accept: type }, signal, redirect: "manual" });
    if (!response.ok || !response.headers.get("Content-Type")?.startsWith(type))
      throw `status ${response.status}`;
    const body = /** @type {ReadableStream} */ (response.body);
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ; ) {
      const { done, value } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = /** @type {string} */ (blocks.pop());
      take(
        blocks.map((block) => {
          /** @type {any} */
          const message = { __proto__: null, event: "", id: "" };
          block.split("\n").forEach((line) => {
            const [, name, value] = /^(\w+): ?(.*)/s.exec(line) || [];
            message[name] = name === "data" && name in message ? `${message.data}\n${value}` : value;
          });
          return message;
        })
      );
    }
  };

  // -- the connection ------------------------------------------------------------------------------

  /**
   * Begin a connection with a subscription.
   * @param {Subscription} initial
   */
  const createConnection = (initial) => {
    /** @type {Set<Subscription>} */
    const subscriptions = new Set();
    let attempts = 0; // that have failed in a row
    /** @type {?AbortController | undefined} */
    let newest; // the run that will deliver
    /** @type {?AbortController | undefined} */
    let open; // the one that does
    /** @type {number} */
    let lastReceived; // ms
    /** @type {number} */
    let retry; // ms, of a farewell
    /** @type {any} */
    let first = 1000; // ms before the first retry, as the server says
    /** @type {any} */
    let opened = { secret: "" }; // what the last stream has begun with; the next one replaces that
    /** @type {number | undefined} */
    let debounce; // a timer
    let heldUntil = 0; // ms; before that the server wants to be asked for nothing
    /** @type {Subscription[]} */
    let asking = []; // the subscriptions that the last attempt was for

    /** @param {string | void} data */
    const broadcastRetry = (data) =>
      asking.forEach((subscription) => subscription.post({ state: "retry", data }));

    const getShares = () => {
      const all = [...subscriptions];
      const keys = new Set(all.map((each) => each.shareKey)); // any text, "__proto__" too
      return [...keys].map((key) => all.filter((each) => each.shareKey === key));
    };

    /**
     * The newest token lives longest; the server finds the lowest position of each share.
     * @param {Subscription[][]} shares
     */
    const query = (shares) =>
      `${new URLSearchParams([
        ...shares.flatMap((/** @type {any[]} */ share) => [
          ["t", share.at(-1).token],
          ["since", [...new Set(share.map((each) => each.position))]],
          ["first", share.map((each) => (each.admitted ? "" : each.mark))],
        ]),
        ["replaces", opened.secret],
      ])}`;

    /** Replace the stream, soon; the open one goes on until the new one is open. */
    const replace = () => {
      const start = () => {
        if (newest !== open) newest?.abort();
        newest = null;
        if (subscriptions.size) return keepOpen((newest = new AbortController()));
        open?.abort();
      };
      clearTimeout(debounce);
      debounce = setTimeout(start, Math.max(DEBOUNCE, heldUntil - Date.now()));
      // A worker whose last page goes into the back-forward cache stands still before a timer fires.
      if (!subscriptions.size) start();
    };

    /** @param {AbortController} run */
    const keepOpen = async (run) => {
      while (newest === run) {
        retry = 0;
        const begun = (lastReceived = Date.now());
        const shares = getShares();
        asking = shares.flat();
        /** @type {string | void} */
        const data = await readStream(`${initial.url}?${query(shares)}`, run.signal, (messages) => {
          if (newest === run) lastReceived = Date.now();
          messages.forEach((message) => deliver(run, shares, message));
        }).catch(String); // undefined after a regular end
        if (open === run) open = null;
        if (newest !== run) return;
        broadcastRetry(data);
        // What lets streams begin and cuts them is asked less and less often, too.
        if (Date.now() - begun > LASTING) attempts = 0;
        const delay =
          retry || Math.min((interval || first) * 2 ** attempts++, MAX_DELAY) * (0.5 + Math.random());
        // A run that begins meanwhile comes a little before this one would go on, and replaces it.
        if (retry) heldUntil = Date.now() + retry - DEBOUNCE;
        lastReceived += delay; // the delay is no silence
        await sleep(delay);
      }
    };

    /**
     * @param {AbortController} run
     * @param {Subscription[][]} shares
     * @param {any} message
     */
    const deliver = (run, shares, message) => {
      const { event, data, id } = message;
      const isFarewell = /^sse-[hs]/.test(event);
      if (message.retry) isFarewell ? (retry = +message.retry) : (first = message.retry);
      if (event === "sse-open") {
        if (open !== run) open?.abort();
        open = run;
        opened = JSON.parse(data);
        if (opened.again) replace(); // now with the cookie that came with this stream
        (opened.names || opened.topics).forEach((/** @type {string[]} */ topics, /** @type {number} */ i) => {
          shares[i].forEach((subscription) => {
            subscription.admitted = topics;
            subscription.post({ state: "open", stream: opened, refused: opened.refused?.[i] });
          });
          if (!topics[0]) stop(shares[i], opened.expired?.includes(i) ? "expired" : "refused");
        });
      }
      if (event === "sse-stop") shares.forEach((share) => stop(share, data));
      // The key of an event is its name; what has none is for all.
      const key = event || message.key;
      const topic = /\./.test(key) && key.replace(/\.[^?]*/, "");
      shares.forEach((share, i) =>
        share.forEach((subscription) => {
          // Of a page alone on the stream, the server has said in the id what it is sent.
          message.id = id && id + (opened.masks?.[i] || "");
          const order = compare(id, subscription.position);
          // A tab gets what it listens to and does not have; messages about the stream are not for tabs.
          const isFor = topic
            ? (message.for?.includes(subscription.mark) ?? topic) &&
              subscription.admitted.includes(topic) &&
              !(event && order <= 0)
            : message.token
              ? +message.token.split(" ")[3] === i
              : !event || event === "sse-reset";
          if (isFor) subscription.post(message);
          // The id of a farewell (sse-stop, sse-holdoff) is no position. One with a mask is none while
          // the next run opens: that has asked by an older one, and sends topics that this run lacks.
          const isPassing = newest !== run && /@/.test(message.id);
          if (id && !isFarewell && !(order < 0) && !isPassing) subscription.position = message.id;
        })
      );
    };

    /**
     * Stop a share; its tabs that have another token go on, for the server may accept that one.
     * @param {Subscription[]} share
     * @param {string} data reason
     */
    const stop = (share, data) => {
      share.forEach((subscription) => {
        if (subscription.token !== /** @type {Subscription} */ (share.at(-1)).token) return;
        subscription.post({ state: "stopped", data });
        subscription.leave();
      });
      replace();
    };

    /**
     * Add a subscription if there is room for it, and return whether there is.
     * @param {Subscription} subscription
     */
    const add = (subscription) => {
      if (subscription.url !== initial.url) return false;
      subscriptions.add(subscription);
      const shares = getShares();
      const room = shares.reduce((left, [{ count }]) => left - count, MAX_TOPICS);
      if (shares[1] && (shares[MAX_SHARES] || room < 0 || query(shares)[MAX_BYTES]))
        return !subscriptions.delete(subscription);
      subscription.leave = () => {
        subscription.post = () => {};
        // The rest of its share needs no other stream.
        if (!subscriptions.delete(subscription)) return;
        if (![...subscriptions].some((each) => each.shareKey === subscription.shareKey)) replace();
      };
      replace();
      return true;
    };

    // A connection may be dead without an error, as after a sleep.
    setInterval(() => {
      if (newest && Date.now() - lastReceived > SILENCE) {
        lastReceived = Date.now();
        broadcastRetry("silence");
        replace();
      }
    }, PING);

    connections.push(add);
    add(initial);
  };

  /**
   * Hold the subscription that the tab at the other end of a port asks for, until it does not
   * answer. Timers of hidden tabs run once a minute, but messages reach them at once; and not every
   * browser delivers what a tab says when it is closed.
   * @param {MessagePort} port
   */
  const serve = (port) => {
    /** @type {any} */
    let subscription; // a Subscription
    /** @type {number | undefined} */
    let timeout;
    const hold = (/** @type {?Spec=} */ spec) => {
      if (subscription && subscription.token !== spec?.token) subscription = subscription.leave();
      if (!spec || subscription) return;
      subscription = { ...spec, post: (/** @type {Message} */ message) => port.postMessage(message) };
      connections.some((add) => add(subscription)) || createConnection(subscription);
    };
    const ask = (/** @type {number} */ left) => {
      if (!left) return hold(null);
      port.postMessage({ isAsked: 1 });
      timeout = setTimeout(ask, PATIENCE, left - 1);
    };
    port.onmessage = ({ data }) => {
      clearTimeout(timeout);
      timeout = data.spec && setTimeout(ask, PATIENCE, 2);
      interval = data.interval || interval;
      hold(data.spec);
      // A page that leaves would be dropped from the back-forward cache by an answer.
      if ("interval" in data) port.postMessage({});
    };
  };

  if (!self.document) {
    /** @type {any} */ (self).onconnect = (/** @type {MessageEvent} */ { ports }) => serve(ports[0]);
    return;
  }

  // -- the page ------------------------------------------------------------------------------------

  // Users may have named an element so.
  const script = /** @type {any} */ (Reflect.get(Document.prototype, "currentScript", document));
  /** @type {any} */
  const dataset = document.documentElement.dataset;
  const allowedOrigins = [origin, ...(script.dataset.origins || origin).split(" ")];
  // The script ignores what is inside of these. With htmx 4 hx-disable="selector" is something else.
  const MARKS = ["hx-ignore", "data-hx-ignore", "hx-disable", "data-hx-disable"];
  const CONNECT_NAMES = ["sse-connect", "hx-sse:connect"];
  const CONNECT = "[sse-connect],[hx-sse\\:connect]";
  const marks = MARKS.flatMap((name, i) =>
    i > 1 && script.dataset.htmx > 2 ? [`[${name}='']`, `[${name}=true]`] : `[${name}]`
  );
  const outside = `:not(:is(${marks}) *)`;
  /** @type {Map<Element, Own>} */
  const subscriptions = new Map(); // connect element -> subscription
  /** @type {Map<string, string>} */
  const received = new Map(); // key -> HTML that came for it since fetches of personal fragments began
  /** @type {any} */
  const provided = {}; // name of a further file -> its function; 0 while this script loads it
  /** @type {(() => void)[]} */
  const waiting = []; // calls of functions that have not come yet
  /** @type {string[]} */
  const seenIds = []; // of the last events
  /** @type {string[]} */
  const seenNames = []; // of those without an id, which many with one must not drive out
  /** What events await, since htmx and many a script listen only once the page has been parsed. */
  const parsed =
    document.readyState === "loading" &&
    new Promise((resolve) => addEventListener("DOMContentLoaded", resolve));
  const random = () => `${Math.random()}`.slice(2);
  const page = random();
  /** @type {string[]} */
  const ownOrigins = []; // of events that this page has caused, one for each of its streams
  /** @type {string | undefined} */
  let secret; // by which the server knows a stream of this page
  let isOff = false;
  /** @type {Set<string>} */
  const failed = new Set(); // keys of fragments that are not current, after "!" if that is our fault

  /** @type {any} */
  let policy; // a TrustedTypePolicy, which the page's Content-Security-Policy may ask for, or forbid
  try {
    const same = (/** @type {string} */ text) => text;
    policy = /** @type {any} */ (window).trustedTypes?.createPolicy("quart-sse", {
      createHTML: same,
      createScript: same,
      createScriptURL: same,
    });
  } catch {}
  /**
   * Make a text what such a policy lets scripts write.
   * @param {string} how "createHTML", "createScript" or "createScriptURL"
   * @param {any} text
   */
  const trust = (how, text) => policy?.[how](text) ?? text;

  /**
   * @param {any[]} list
   * @param {any} entry
   */
  const append = (list, entry) => list.push(entry) > MAX_MESSAGES && list.shift();

  /**
   * The worker holds a subscription as long as messages with its spec come, and drops it without one.
   * @param {Own} subscription
   */
  const subscribe = (subscription) =>
    subscription.port.postMessage({
      spec: isOff || subscription.isStopped ? null : subscription.spec,
      interval: api.interval,
    });
  /** @param {Own} subscription */
  const unsubscribe = (subscription) => subscription.port.postMessage({});
  const subscribeAll = () => subscriptions.forEach(subscribe);
  const unsubscribeAll = () => subscriptions.forEach(unsubscribe);
  const resubscribeAll = () => {
    unsubscribeAll();
    subscribeAll();
  };

  /** @type {any} */
  const api = (window.QuartSSE = {
    /** Value of the header X-SSE-Page: the page that sends a request. */
    get page() {
      return secret ? `${secret}.${page}` : "";
    },
    get isConnected() {
      return /[nl]$/.test(dataset.sseState); // open, partial
    },
    get isConnecting() {
      return /[gy]$/.test(dataset.sseState); // connecting, retry
    },
    messages: [],
    reconnect: true,
    interval,
    attempts: Infinity,
    clearMessages() {
      api.messages = [];
    },
    connect() {
      isOff = false;
      subscriptions.forEach((subscription) => (subscription.isStopped = false));
      resubscribeAll();
    },
    disconnect() {
      isOff = true;
      subscribeAll();
      showState("stopped");
    },
    /**
     * Take the function of a further file. Private: the files of this script call it.
     * @param {string} name
     * @param {(...inner: any[]) => any} make
     */
    provide(name, make) {
      provided[name] = make(put, outside, received, sleep, readStream, trust, fail, need, parsed);
      waiting.splice(0).forEach((call) => call());
    },
  });

  /**
   * @param {EventTarget} target
   * @param {string} name
   * @param {object} [detail]
   */
  const emit = (target, name, detail) =>
    target.dispatchEvent(new CustomEvent(name, { bubbles: true, detail }));

  /**
   * Show the state of the connection to users and scripts.
   * @param {string} state
   * @param {?string} error
   */
  const showState = (state, error = null) => {
    const before = dataset.sseState;
    const was = api.isConnected;
    dataset.sseState = state;
    api.error = error;
    if (error) api.onerror?.(error);
    if (state === before) return;
    emit(document, `sse:${state}`, { state, error });
    api.isConnected ? was || api.onconnect?.() : was && api.ondisconnect?.(state);
  };

  /**
   * Show what the states of all subscriptions and fragments make together.
   * @param {string} state the last one that was told
   * @param {?string} [error]
   */
  const judge = (state, error) => {
    const all = [...subscriptions.values()];
    const isStopped = isOff || all.some((each) => each.isStopped);
    const lost = [...failed, ...all.flatMap((each) => each.lost || [])];
    showState(isStopped ? "stopped" : state === "open" && lost[0] ? "partial" : state, error);
    if ("refused" in provided) use("refused", lost);
  };

  /**
   * Note that a fragment is not current, or that it is again.
   * @param {string} name its key, after "!" if that is our fault
   * @param {any} isFailed
   */
  const fail = (name, isFailed) => {
    if (isFailed ? !failed.has(name) && failed.add(name) : failed.delete(name))
      if (api.isConnected) judge("open");
  };

  /** Subscribe connect elements that are new in the document, and unsubscribe those that have gone. */
  const scan = () => {
    const elements = [...document.querySelectorAll(`:is(${CONNECT}):not(${marks})${outside}`)];
    subscriptions.forEach((subscription, element) => {
      if (elements.includes(element)) return;
      subscriptions.delete(element);
      unsubscribe(subscription);
    });
    elements.forEach((element) => {
      const link = document.createElement("a"); // whose href is the whole URL, and never raises
      link.href = /** @type {string} */ (
        element.getAttribute("sse-connect") || element.getAttribute("hx-sse:connect")
      );
      const [url, query] = link.href.split("?");
      const {
        t: token,
        k: shareKey,
        since: position,
        n: count,
      } = Object.fromEntries(new URLSearchParams(query));
      if (
        subscriptions.has(element) ||
        !shareKey ||
        !allowedOrigins.some((each) => url.startsWith(`${each}/`))
      )
        return;
      const spec = { url, token, shareKey, position, count, mark: random() };
      const subscription = /** @type {Own} */ ({ spec, failures: 0 });
      subscriptions.set(element, subscription);
      showState(dataset.sseState || "connecting");
      loadFiles(/** @type {any} */ (element).dataset.sseFiles);
      attach(subscription, element);
    });
    if (subscriptions.size) return;
    // A copy on disk, which can connect nothing, is not live.
    if (elements[0] && !/^http/.test(origin)) showState("stopped");
    else delete dataset.sseState;
  };

  /**
   * Call the function of a further file, once it is there.
   * @param {string} name
   * @param {any[]} values
   */
  const use = (name, ...values) =>
    provided[name] ? provided[name](...values) : append(waiting, () => use(name, ...values));

  /**
   * The same for a file that few pages need, which is loaded then.
   * @param {string} name
   * @param {any[]} values
   */
  const need = (name, ...values) => {
    loadFiles(script.dataset.files);
    use(name, ...values);
  };

  /**
   * Load the further files that a connect element or a message names, unless they are there.
   * @param {string} [files]
   */
  const loadFiles = (files) =>
    files?.split(",").forEach((file) => {
      const [name, path, integrity] = file.split(" ");
      // Only what lies beside this script, for the attribute may come from users.
      if (name in provided || !/^[\w-]+\.min\.js\?/.test(path)) return;
      provided[name] = 0;
      const further = document.createElement("script");
      Object.assign(further, {
        integrity,
        crossOrigin: "",
        nonce: script.nonce,
        src: trust("createScriptURL", new URL(path, script.src)),
      });
      further.onerror = async () => {
        await sleep(MAX_DELAY);
        delete provided[name];
        loadFiles(file);
      };
      document.head.append(further);
    });

  /**
   * Attach a subscription to the worker, or where there is none to the same code in the page.
   * @param {Own} subscription
   * @param {Element} element
   */
  const attach = (subscription, element) => {
    /** @param {MessagePort} port */
    const listen = (port) => {
      if (subscription.port) unsubscribe(subscription);
      subscription.port = port;
      subscription.missed = 0;
      port.onmessage = ({ data }) => {
        subscription.missed = 0;
        if (data.isAsked) subscribe(subscription);
        else if (subscriptions.get(element) === subscription) receive(element, subscription, data);
      };
      subscribe(subscription);
    };
    const attachToPage = () => {
      const { port1, port2 } = new MessageChannel();
      serve(port1);
      listen(port2);
    };
    try {
      const worker = new SharedWorker(trust("createScriptURL", script.src), "quart-sse");
      worker.onerror = attachToPage; // a policy may forbid workers
      listen(worker.port);
    } catch {
      attachToPage();
    }
  };

  /**
   * Put in fragments: quart-sse-morph.js does.
   * @param {string} html one partial or more
   */
  const put = (html) => use("swap", html);

  /**
   * @param {Element} element
   * @param {Own} subscription
   * @param {Message} message
   */
  const receive = async (
    element,
    subscription,
    { state, key, event, data, id, once, origin, type, load, token, stream, refused }
  ) => {
    const { spec } = subscription;
    if (id) spec.position = id;
    if (stream) {
      spec.mark = null; // it is a new page no more, so no list of marks has its own
      secret = stream.secret;
      subscription.lost = [...(spec.lost || []), ...(refused || [])];
      loadFiles(stream.files);
      append(ownOrigins, `${stream.id}.${page}`);
    }
    if (state) {
      subscription.isStopped = state === "stopped";
      subscription.failures = state === "retry" ? subscription.failures + 1 : 0;
      judge(state, data);
      if (subscription.failures > (api.reconnect ? api.attempts : 0)) api.disconnect();
    } else if (!event) {
      if (token) {
        const [, next, position] = token.split(" ");
        spec.token = next; // the page's own expires soon
        spec.lost = subscription.lost; // of which that one knows nothing
        spec.position = position; // in which bits stand for the topics of that token
        subscribe(subscription);
      } else if (load) {
        const [delay, url] = load.split(" ");
        use("personal", key, new URL(url, spec.url), +delay);
      } else if (key && !ownOrigins.includes(origin)) {
        received.delete(key);
        received.set(key, data);
        use(/\//.test(key) ? "list" : "swap", data);
      }
    } else if (!ownOrigins.includes(origin)) {
      await parsed;
      const message = { event, data, id, timestamp: Date.now() };
      try {
        if (!type) message.data = JSON.parse(data);
      } catch {}
      if (event === "sse-reset") return emit(element, event);
      // Another subscription may have the topic too, and a restored page asks for what it had.
      const [exact] = (once || id).split(/[~@]/);
      const seen = once ? seenNames : seenIds;
      if (seen.includes(exact)) return;
      if (exact) append(seen, exact);
      if (/\.sse-r/.test(event)) {
        loadFiles(data);
        return use("update", exact);
      }
      emit(element, event, message);
      append(api.messages, (api.lastMessage = message));
      emit(element, "sse:message", message);
    }
  };

  setInterval(() => {
    // A worker that does not answer was killed.
    subscriptions.forEach(
      (subscription, element) => subscription.missed++ > 1 && attach(subscription, element)
    );
    subscribeAll();
  }, PING);
  // Most changes have nothing to do with it, and the document may be large.
  new MutationObserver((records) => {
    records.some(
      (each) =>
        each.attributeName ||
        [.../** @type {Iterable<any>} */ (each.addedNodes), ...each.removedNodes].some(
          (node) => node.matches?.(CONNECT) || node.querySelector?.(CONNECT)
        )
    ) && scan();
  }).observe(document, { childList: true, subtree: true, attributeFilter: [...MARKS, ...CONNECT_NAMES] });
  scan();

  addEventListener("online", resubscribeAll);
  // A page in the back-forward cache must not hold what it cannot read.
  addEventListener("pagehide", unsubscribeAll);
  // Firefox and WebKit may stop the worker before it has that message. A page that stays subscribes
  // again by its next sign of life. Firefox keeps no page that listens for this: it loads it again.
  addEventListener("beforeunload", unsubscribeAll);
  addEventListener("pageshow", subscribeAll);
})();
