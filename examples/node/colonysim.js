// A simulated server for tests: start it, move its time, reset it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

/** Start a server with the stock colony `dev`; its `environment` has the keys. */
export async function start() {
  const server = spawn("colonysim", ["serve", "--stock", "--clock", "manual"], { stdio: ["ignore", "pipe", "inherit"] });
  const line = await Promise.race([
    once(createInterface(server.stdout), "line").then(([text]) => text),
    once(server, "exit").then(([status]) => Promise.reject(new Error(`colonysim serve ended with ${status}`))),
  ]);
  const { url, environment } = JSON.parse(line);
  const control = async (route, body) => {
    const headers = { "Content-Type": "application/json" };
    const reply = await fetch(`${url}/colonysim/${route}`, { method: "POST", headers, body: JSON.stringify(body) });
    const answer = await reply.json();
    if (!reply.ok) throw new Error(answer.error);
    return answer;
  };
  return {
    url,
    environment,
    advance: (seconds) => control("clock/advance", { seconds }),
    reset: () => control("reset", {}),
    async stop() {
      server.kill("SIGINT");
      await once(server, "exit");
    },
  };
}
