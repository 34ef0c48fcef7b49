// Five clients of npm listen to one stream each, and tell what each of them notices, a line for each.
// Started with the URL of the stream; to it each adds its name.
import { createRequire } from "node:module";
import { createEventSource } from "eventsource-client";
import { EventSource as Rex } from "eventsource";
import { EventSource as Undici } from "undici";

const require = createRequire(import.meta.url);
const { EventSource: LaunchDarkly } = require("launchdarkly-eventsource");
const { EventSourcePolyfill } = require("event-source-polyfill");

const url = process.argv[2];
const tell = (client, kind, data) => console.log(JSON.stringify([client, kind, data]));

const standard = { "eventsource": Rex, "undici": Undici, "launchdarkly-eventsource": LaunchDarkly, "event-source-polyfill": EventSourcePolyfill };
for (const [name, Source] of Object.entries(standard)) {
  const source = new Source(`${url}?client=${name}`);
  source.addEventListener("said", ({ data }) => tell(name, "said", JSON.parse(data).text));
  source.addEventListener("sse-stop", ({ data }) => tell(name, "sse-stop", data));
  source.addEventListener("error", () => tell(name, "error", source.readyState));
}
const name = "eventsource-client";
createEventSource({
  url: `${url}?client=${name}`,
  onMessage: ({ event, data }) => {
    if (event === "said") tell(name, event, JSON.parse(data).text);
    if (event === "sse-stop") tell(name, event, data);
  },
  onDisconnect: () => tell(name, "error", 0),
});
