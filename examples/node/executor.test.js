import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, beforeEach, test } from "node:test";
import { Client, idOf, Refused } from "./colonies.js";
import { start } from "./colonysim.js";

const SUCCESS = 2;
const WAITING = 0;
let server, user, owner;

before(async () => {
  server = await start();
  user = new Client(server.url, server.environment.COLONIES_PRVKEY);
  owner = new Client(server.url, server.environment.COLONIES_COLONY_PRVKEY);
});
after(() => server?.stop());
beforeEach(() => server.reset());

async function addExecutor(name) {
  const key = randomBytes(32).toString("hex");
  const executor = { executorid: idOf(key), executorname: name, executortype: "squarer", colonyname: "dev" };
  await owner.ask("addexecutormsg", { executor });
  await owner.ask("approveexecutormsg", { colonyname: "dev", executorname: name });
  return new Client(server.url, key);
}

function submit(n) {
  const conditions = { colonyname: "dev", executortype: "squarer" };
  const spec = { funcname: "square", args: [n], conditions, maxexectime: 60, maxretries: 3, maxwaittime: -1 };
  return user.ask("submitfuncspecmsg", { spec });
}

/** The code under test: take one process, and close it. */
async function squareOne(client) {
  const process = await client.ask("assignprocessmsg", { colonyname: "dev", timeout: 10 });
  const [n] = process.spec.args;
  await client.ask("closesuccessfulmsg", { processid: process.processid, out: [n * n] });
}

const current = ({ processid }) => user.ask("getprocessmsg", { processid });

test("the executor squares a number", async () => {
  const process = await submit(7);
  await squareOne(await addExecutor("one"));
  const { state, out } = await current(process);
  assert.deepEqual([state, out], [SUCCESS, [49]]);
});

test("a process comes back when its executor dies, and another one closes it", async () => {
  const process = await submit(8);
  const dead = await addExecutor("dead");
  await dead.ask("assignprocessmsg", { colonyname: "dev", timeout: 10 });
  await server.advance(62);
  assert.equal((await current(process)).state, WAITING);
  await squareOne(await addExecutor("other"));
  assert.deepEqual((await current(process)).out, [64]);
});

test("a key that nobody knows is refused", async () => {
  const stranger = new Client(server.url, randomBytes(32).toString("hex"));
  await assert.rejects(stranger.ask("assignprocessmsg", { colonyname: "dev", timeout: 1 }), Refused);
});
