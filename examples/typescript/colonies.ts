// A small client of the Colonies protocol, with the types of the messages that it sends.
import { createHash, randomBytes } from "node:crypto";
import { secp256k1 } from "@noble/curves/secp256k1.js";

/** The states of a process. */
export const State = { WAITING: 0, RUNNING: 1, SUCCESS: 2, FAILED: 3, CANCELLED: 4 } as const;

export interface FunctionSpec {
  funcname: string;
  args?: unknown[];
  conditions: { colonyname: string; executortype: string };
  maxexectime?: number;
  maxwaittime?: number;
  maxretries?: number;
}

export interface Process {
  processid: string;
  state: number;
  retries: number;
  spec: Required<FunctionSpec>;
  out: unknown[];
  errors: string[];
}

const sha3 = (data: string) => createHash("sha3-256").update(data).digest();
const bytes = (hex: string) => Uint8Array.from(Buffer.from(hex, "hex"));

/** A new private key: 64 hex digits. */
export const newKey = () => randomBytes(32).toString("hex");

/** The id of a private key: the hash of its public key as hex text. */
export function idOf(privateKey: string): string {
  const publicKey = secp256k1.getPublicKey(bytes(privateKey), false);
  return sha3(Buffer.from(publicKey).toString("hex")).toString("hex");
}

/** The signature of a payload in 130 hex digits: r, s, and which public key it was. */
export function sign(payload: string, privateKey: string): string {
  const signature = secp256k1.sign(sha3(payload), bytes(privateKey), { prehash: false, format: "recovered" });
  return Buffer.from([...signature.slice(1), signature[0]!]).toString("hex");
}

/** The server said no. */
export class Refused extends Error {
  constructor(readonly status: number, message: string) {
    super(message);
  }
}

/** A client of the server at `url`, with one private key. */
export class Client {
  constructor(readonly url: string, readonly privateKey: string) {}

  submit(spec: FunctionSpec): Promise<Process> {
    return this.ask("submitfuncspecmsg", { spec });
  }

  process(processid: string): Promise<Process> {
    return this.ask("getprocessmsg", { processid });
  }

  /** The next process; throws Refused if none has come for `timeout` seconds. */
  assign(colonyname: string, timeout: number): Promise<Process> {
    return this.ask("assignprocessmsg", { colonyname, timeout });
  }

  async close(processid: string, out: unknown[]): Promise<void> {
    await this.ask("closesuccessfulmsg", { processid, out });
  }

  /** Adds an executor and approves it. The key of this client must be that of the colony. */
  async addExecutor(colonyname: string, executorname: string, executortype: string): Promise<Client> {
    const key = newKey();
    await this.ask("addexecutormsg", { executor: { executorid: idOf(key), executorname, executortype, colonyname } });
    await this.ask("approveexecutormsg", { colonyname, executorname });
    return new Client(this.url, key);
  }

  /** The reply to any message of the protocol. */
  async ask<Reply = unknown>(msgtype: string, fields: object = {}): Promise<Reply> {
    const payload = Buffer.from(JSON.stringify({ msgtype, ...fields })).toString("base64");
    const body = JSON.stringify({ payloadtype: msgtype, payload, signature: sign(payload, this.privateKey) });
    const reply = await fetch(`${this.url}/api`, { method: "POST", body });
    const envelope = (await reply.json()) as { payload: string };
    const answer = JSON.parse(Buffer.from(envelope.payload, "base64").toString());
    if (!reply.ok) throw new Refused(reply.status, answer.message);
    return answer as Reply;
  }
}
