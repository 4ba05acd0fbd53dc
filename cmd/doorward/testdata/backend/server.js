// An ordinary Express application. It believes the headers it is sent, as a
// legacy application behind a gateway does, and listens on a port of its own
// choosing, which it prints.
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import express from "express";
import { WebSocketServer } from "ws";

const app = express();
app.disable("x-powered-by");

const who = (req) => ({
  user: req.get("x-forwarded-user") ?? null,
  id: req.get("x-forwarded-user-id") ?? null,
  email: req.get("x-forwarded-email") ?? null,
  groups: req.get("x-forwarded-groups") ?? null,
});

app.get("/whoami", (req, res) => {
  res.json({ ...who(req), raw: req.rawHeaders, url: req.url });
});

app.get("/hello", (req, res) => {
  res.type("html").send(`<!doctype html><title>Legacy app</title><h1 id="hello">Hello ${who(req).user}</h1>`);
});

app.get("/admin/panel", (req, res) => res.json({ panel: true, ...who(req) }));

// An event stream: one event at once, then one for every tick asked for; the
// connection stays open until somebody ends it.
app.get("/events", (req, res) => {
  res.set({ "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
  res.flushHeaders();
  res.write(`data: open ${who(req).user}\n\n`);
});

// An upload: counted and hashed as it arrives.
app.put("/upload", (req, res) => {
  const hash = createHash("sha256");
  let bytes = 0;
  req.on("data", (chunk) => {
    hash.update(chunk);
    bytes += chunk.length;
  });
  req.on("end", () => res.json({ bytes, sha256: hash.digest("hex") }));
});

// An upload refused after its first bytes, long before its end.
app.put("/too-large", (req, res) => {
  req.once("data", () => {
    res.status(413).set("Connection", "close").json({ error: "too large" });
  });
});

// A download of as many zero bytes as asked for, without a length.
app.get("/download/:bytes", (req, res) => {
  let left = Number(req.params.bytes);
  const block = Buffer.alloc(64 * 1024);
  const more = () => {
    while (left > 0) {
      const part = left < block.length ? block.subarray(0, left) : block;
      left -= part.length;
      if (!res.write(part)) {
        res.once("drain", more);
        return;
      }
    }
    res.end();
  };
  more();
});

// A backend that takes the request and never answers.
app.get("/hang", () => {});

const server = createServer(app);
const sockets = new WebSocketServer({ server, path: "/ws" });
sockets.on("connection", (socket, req) => {
  socket.send(`hello ${req.headers["x-forwarded-user"] ?? "nobody"}`);
  socket.on("message", (data, binary) => socket.send(data, { binary }));
});

server.listen(Number(process.env.PORT ?? 0), "127.0.0.1", () => console.log(server.address().port));
