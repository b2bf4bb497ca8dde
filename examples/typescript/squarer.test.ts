import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { Client, newKey, Refused, State, type Process } from "./colonies.js";
import { Colonysim } from "./colonysim.js";
import { squareOne } from "./squarer.js";

let server: Colonysim, user: Client, owner: Client;

before(async () => {
  server = await Colonysim.start();
  user = new Client(server.url, server.environment.COLONIES_PRVKEY);
  owner = new Client(server.url, server.environment.COLONIES_COLONY_PRVKEY);
});
after(() => server?.stop());
beforeEach(() => server.reset());

function submit(n: number): Promise<Process> {
  const conditions = { colonyname: "dev", executortype: "squarer" };
  return user.submit({ funcname: "square", args: [n], conditions, maxexectime: 60, maxretries: 3, maxwaittime: -1 });
}

test("the executor squares a number", async () => {
  const { processid } = await submit(7);
  await squareOne(await owner.addExecutor("dev", "one", "squarer"));
  const { state, out } = await user.process(processid);
  assert.deepEqual([state, out], [State.SUCCESS, [49]]);
});

test("a process comes back when its executor dies, and another one closes it", async () => {
  const { processid } = await submit(8);
  const dead = await owner.addExecutor("dev", "dead", "squarer");
  await dead.assign("dev", 10);
  await server.advance(62);
  assert.equal((await user.process(processid)).state, State.WAITING);
  await squareOne(await owner.addExecutor("dev", "other", "squarer"));
  const { out, retries } = await user.process(processid);
  assert.deepEqual([out, retries], [[64], 1]);
});

test("a lost reply to a close does no harm", async () => {
  const { processid } = await submit(9);
  const executor = await owner.addExecutor("dev", "one", "squarer");
  await server.addFault({ kind: "lose_reply", match: { types: "closesuccessfulmsg" }, when: { first: 1 } });
  await squareOne(executor);
  const { state, out } = await user.process(processid);
  assert.deepEqual([state, out], [State.SUCCESS, [81]]);
});

test("a key that nobody knows is refused", async () => {
  const stranger = new Client(server.url, newKey());
  await assert.rejects(stranger.assign("dev", 1), Refused);
});
