// A simulated server for tests: start it, move its time, make it fail, reset it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

/** The variables that SDKs read, with the keys to sign with. */
export type Environment = Record<
  "COLONIES_SERVER_PRVKEY" | "COLONIES_COLONY_NAME" | "COLONIES_COLONY_PRVKEY" | "COLONIES_PRVKEY",
  string
>;

/** A fault, as docs/faults.md describes it. */
export interface Fault {
  kind: string;
  name?: string;
  match?: { types?: string | string[]; callers?: string | string[]; executor_type?: string };
  when?: { first?: number; nth?: number; every?: number; probability?: number };
  [field: string]: unknown;
}

export class Colonysim {
  private constructor(
    readonly url: string,
    readonly environment: Environment,
    readonly stop: () => Promise<void>,
  ) {}

  /** Start a server with the stock colony `dev`. Its time moves only by `advance`. */
  static async start(seed = 0): Promise<Colonysim> {
    const options = ["serve", "--stock", "--clock", "manual", "--seed", String(seed)];
    const server = spawn("colonysim", options, { stdio: ["ignore", "pipe", "inherit"] });
    const line = await Promise.race([
      once(createInterface(server.stdout), "line").then(([text]) => text as string),
      once(server, "exit").then(([status]) => Promise.reject(new Error(`colonysim serve ended with ${status}`))),
    ]);
    const { url, environment } = JSON.parse(line) as { url: string; environment: Environment };
    return new Colonysim(url, environment, async () => {
      server.kill("SIGINT");
      await once(server, "exit");
    });
  }

  advance(seconds: number): Promise<unknown> {
    return this.control("POST", "clock/advance", { seconds });
  }

  addFault(fault: Fault): Promise<unknown> {
    return this.control("POST", "faults", fault);
  }

  /** Remove all faults, and go back to the state at the start. */
  async reset(): Promise<void> {
    await this.control("DELETE", "faults");
    await this.control("POST", "reset", {});
  }

  private async control(method: string, route: string, body?: object): Promise<unknown> {
    const sent = body && { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
    const reply = await fetch(`${this.url}/colonysim/${route}`, { method, ...sent });
    const answer = (await reply.json()) as { error?: string };
    if (!reply.ok) throw new Error(answer.error);
    return answer;
  }
}
