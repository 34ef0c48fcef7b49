// better-sse as its docs say: one channel, in which every session is registered.
import http from "node:http";
import { createChannel, createSession } from "better-sse";

const news = createChannel();
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const now = () => String(process.hrtime.bigint()).padStart(19, "0");

http
  .createServer(async (request, response) => {
    const url = new URL(request.url, "http://localhost");
    if (url.pathname === "/sse/news") {
      const session = await createSession(request, response, { serializer: (data) => data });
      news.register(session);
      session.push("", "sse-open");
      return;
    }
    const asked = (name, usual) => Number(url.searchParams.get(name) ?? usual);
    const [count, rate, size] = [asked("count", 1), asked("rate", 0), asked("size", 120)];
    const begun = performance.now();
    for (let number = 0; number < count; number += 1) {
      const wait = begun + (1000 * number) / rate - performance.now();
      if (rate && wait > 0) await sleep(wait);
      news.broadcast(`@@${now()} `.padEnd(size, "x"), "news");
    }
    response.end("ok");
  })
  .listen(Number(process.argv[2]), "127.0.0.1");
