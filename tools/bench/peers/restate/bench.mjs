// Chains of no-op steps on Restate: `node bench.mjs DIR ROUNDS`. Starts a server on loopback with its data in DIR and
// its configuration as it comes, a service in this process, and prints a line of JSON for each load and round.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

// The SDK needs it, and Node 20 does not have it.
Promise.withResolvers ??= function withResolvers() {
  let resolve, reject;
  const promise = new this((yes, no) => ([resolve, reject] = [yes, no]));
  return { promise, resolve, reject };
};
const restate = await import("@restatedev/restate-sdk");

const [dir, rounds] = [process.argv[2], Number(process.argv[3] ?? 1)];
const LOADS = [[1, 1000], [1, 100], [16, 100], [128, 100]];

const bench = restate.service({
  name: "bench",
  handlers: {
    // Returns how long each step took, in microseconds.
    chain: async (ctx, steps) => {
      const took = [];
      for (let step = 0; step < steps; step++) {
        const began = performance.now();
        await ctx.run(`s${step}`, () => null);
        took.push((performance.now() - began) * 1000);
      }
      return took;
    },
  },
});

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

const [ingress, admin, fabric, own] = [await freePort(), await freePort(), await freePort(), await freePort()];
await restate.serve({ services: [bench], port: own, logger: () => {} });

const binary = fileURLToPath(new URL("node_modules/.bin/restate-server", import.meta.url));
const server = spawn(
  binary,
  ["--no-logo", "--listen-mode", "tcp", "--bind-ip", "127.0.0.1", "--bind-port", String(fabric), "--base-dir", join(dir, "restate")],
  {
    env: {
      ...process.env,
      RESTATE_ADVERTISED_HOST: "127.0.0.1",
      RESTATE_INGRESS__BIND_PORT: String(ingress),
      RESTATE_ADMIN__BIND_PORT: String(admin),
      RESTATE_DISABLE_TELEMETRY: "true",
    },
    stdio: ["ignore", "pipe", "pipe"],
  },
);
const log = createWriteStream(join(dir, "restate.log"));
server.stdout.pipe(log);
server.stderr.pipe(log, { end: false });
let ended;
server.once("exit", (code) => (ended = code));

// Asks until the server answers; it takes some seconds to start.
async function post(port, path, body, patience = 0) {
  const until = Date.now() + patience;
  for (;;) {
    if (ended !== undefined) throw new Error(`restate-server ended with ${ended}; see restate.log`);
    try {
      const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      });
      if (answer.ok) return await answer.json();
      if (Date.now() > until) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    } catch (error) {
      if (Date.now() > until) throw error;
    }
    await new Promise((again) => setTimeout(again, 100));
  }
}

function percentile(sorted, percent) {
  return sorted[Math.ceil((sorted.length * percent) / 100) - 1];
}

try {
  await post(admin, "/deployments", { uri: `http://127.0.0.1:${own}` }, 60_000);
  await post(ingress, "/bench/chain", 20, 60_000);
  for (let round = 0; round < rounds; round++) {
    for (const [runs, steps] of LOADS) {
      const began = performance.now();
      const all = await Promise.all(Array.from({ length: runs }, () => post(ingress, "/bench/chain", steps)));
      const seconds = (performance.now() - began) / 1000;
      const each = all.flat().sort((one, other) => one - other);
      const figure = { subject: "restate", runs, steps, seconds, p50_us: percentile(each, 50), p99_us: percentile(each, 99) };
      console.log(JSON.stringify(figure));
    }
  }
} finally {
  server.kill("SIGTERM");
  if (ended === undefined) await once(server, "exit");
}
process.exit(0);
